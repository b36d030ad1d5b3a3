    for (( i = 1; i < COMP_CWORD; i++ )); do
        case ${COMP_WORDS[i]} in
            --) (( i++ )); break ;;
            =) (( i++ )) ;;
            @TAKE_VALUE@) [[ ${COMP_WORDS[i + 1]} == = ]] || (( i++ )) ;;
            -*) ;;
            *) break ;;
        esac
    done
    if (( i < COMP_CWORD )); then
        if declare -F _command_offset >/dev/null; then _command_offset "$i"; fi
        return
    elif (( i == COMP_CWORD )) && [[ $cur != -* || ${COMP_WORDS[i - 1]} == -- ]]; then
        COMPREPLY=( $(compgen -c -- "$cur") )
        return
    fi
