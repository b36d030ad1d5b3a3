# ask.bash LINE FOLDER: prints what bash would offer at the end of LINE. Words break where readline breaks them.
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
for file in "$2"/*.bash; do source "$file"; done
read -ra rough <<<"${1//=/ = }"
COMP_WORDS=("${rough[@]}")
[[ $1 == *' ' || $1 == *= ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
tool=${COMP_WORDS[0]}
spec=$(complete -p "$tool") || exit 1
function=${spec#*-F } function=${function%% *}
COMPREPLY=()
"$function" "$tool" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
(( ${#COMPREPLY[@]} == 0 )) || printf '%s\n' "${COMPREPLY[@]}"
