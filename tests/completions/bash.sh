@JOBS@
# What the generated function can't know: the jobs there are, and where another command begins.
_@FN@_also() {
    local cur=$2 prev=$3 i
    COMPREPLY=()
    if [[ $cur == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 1]} cur=
    elif [[ $prev == = && COMP_CWORD -ge 2 ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
@COMMAND@    case $prev in
@JOB_OPTION@        @TAKE_VALUE@)
            _@FN@ "$1" "$cur" "$prev"
            return ;;
    esac
@POSITIONAL@    _@FN@ "$@"
}
complete -F _@FN@_also -o nosort -o bashdefault -o default @NAME@ 2>/dev/null || complete -F _@FN@_also -o bashdefault -o default @NAME@
