_bgcancel() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="bgcancel"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        bgcancel)
            opts="-a -s -g -r -q -h -V --all --signal --grace --reason --dry-run --json --quiet --dir --help --version"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --signal)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -s)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grace)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -g)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --reason)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -r)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --dir)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _bgcancel -o nosort -o bashdefault -o default bgcancel
else
    complete -F _bgcancel -o bashdefault -o default bgcancel
fi

# Offers the jobs whose id or name begins with $1, from the directory that the command line means. compgen -W would
# expand the words, and a record can say anything: what the shell would not take as a plain word is left out.
_bgcancel_jobs() {
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
            queued|running|waiting) ;;
            *) continue ;;
        esac
        for word in "$id" "$name"; do
            [[ $word == $odd || $word != "$1"* || -n ${seen[x$word]-} ]] && continue
            seen[x$word]=1
            COMPREPLY+=("$word")
        done
    done < <(bgstatus "${dir[@]}" -o state,id,name 2>/dev/null)
}

# What the generated function can't know: the jobs there are, and where another command begins.
_bgcancel_also() {
    local cur=$2 prev=$3 i
    COMPREPLY=()
    if [[ $cur == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 1]} cur=
    elif [[ $prev == = && COMP_CWORD -ge 2 ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
        -s|--signal|-g|--grace|-r|--reason|--dir)
            _bgcancel "$1" "$cur" "$prev"
            return ;;
    esac
    if [[ $cur != -* ]]; then
        _bgcancel_jobs "$cur"
        return
    fi
    _bgcancel "$@"
}
complete -F _bgcancel_also -o nosort -o bashdefault -o default bgcancel 2>/dev/null || complete -F _bgcancel_also -o bashdefault -o default bgcancel
