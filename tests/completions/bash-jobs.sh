
# Jobs by id and name, a word a line, from the directory that the command line means.
_@FN@_jobs() {
    local i word state id name dir=()
    local -A seen=()
    for (( i = 1; i < COMP_CWORD; i++ )); do
        [[ ${COMP_WORDS[i]} == -- ]] && break
        [[ ${COMP_WORDS[i]} == --dir ]] || continue
        word=${COMP_WORDS[i + 1]}
        [[ $word == = ]] && word=${COMP_WORDS[i + 2]}
        word=${word//[\"\'\\]/}
        dir=(--dir "${word/#\~\//$HOME/}")
    done
    while read -r state id name; do
        case $state in
            @STATES@) ;;
            *) continue ;;
        esac
        for word in "$id" "$name"; do
            [[ -n ${seen[$word]-} ]] || printf '%s\n' "$word"
            seen[$word]=1
        done
    done < <(bgstatus "${dir[@]}" @LISTED@ 2>/dev/null)
}
