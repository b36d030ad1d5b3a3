
# Offers the jobs whose id or name begins with $1, from the directory that the command line means. compgen -W would
# expand the words, and a record can say anything: what the shell would not take as a plain word is left out.
_@FN@_jobs() {
    local i word state id name dir=() odd='*[]$`"\\(){}[<>&|;*?!#~=%^,:@+/[:space:]'\'']*'
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
            [[ $word == $odd || $word != "$1"* || -n ${seen[x$word]-} ]] && continue
            seen[x$word]=1
            COMPREPLY+=("$word")
        done
    done < <(bgstatus "${dir[@]}" @LISTED@ 2>/dev/null)
}
