
# Jobs by id and name, from the directory that the command line means.
_@FN@_jobs() {
    local state id name
    local -a dir found
    local -A seen
    # A record can say anything: what the shell would not take as a plain word is left out.
    local odd='*[]$`"\\(){}[<>&|;*?!#~=%^,:@+/[:space:]'\'']*'
    if [[ -n ${opt_args[--dir]-} ]]; then
        dir=(--dir ${(Q)opt_args[--dir]/#\~\//$HOME/})
    fi
    while read -r state id name; do
        case $state in
            (@STATES@)
                [[ $id$name == ${~odd} ]] && continue
                found+=("$id:$state")
                [[ -n ${seen[$name]-} ]] || found+=("$name:newest, $state")
                seen[$name]=1 ;;
        esac
    done < <(bgstatus $dir @LISTED@ 2>/dev/null)
    _describe -V -t jobs job found
}
