# ask.zsh LINE FOLDER: prints what zsh would offer at the end of LINE, asked in a pseudo-terminal.
zmodload zsh/zpty
typeset -x ASK_HITS=$HOME/hits
cat >$HOME/inner.zsh <<'INNER'
PROMPT= PROMPT2= RPROMPT=
unsetopt zle_bracketed_paste prompt_cr prompt_sp 2>/dev/null
autoload -Uz compinit && compinit -u -D
zstyle ':completion:*' list-prompt ''
zstyle ':completion:*' verbose yes
LISTMAX=0
# What would be added is what matches: the builtin tells through -A, and -O, -A, -D calls only ask.
compadd () {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
        builtin compadd "$@"
        return $?
    fi
    local -a __hits
    builtin compadd -A __hits "$@"
    (( $#__hits )) && print -rl -- $__hits >>$ASK_HITS
    builtin compadd "$@"
}
ask () {
    _main_complete
    print -r -- ASKED
}
zle -C ask complete-word ask
bindkey '^I' ask
print -r -- READY
INNER
: >$ASK_HITS
zpty -b asked "zsh -f -i"
FOLDER=$2
heard () {
    local chunk all=
    local -i tries=0
    until [[ $all == *$1$'\r'* ]]; do
        zpty -r asked chunk '*'$'\n' || { (( ++tries > 6000 )) && { print -r -u2 -- "zsh never said $1: $all"; exit 1 } }
        all+=$chunk
        [[ -n $chunk ]] || zselect -t 1
        chunk=
    done
}
zmodload zsh/zselect
zpty -w asked "fpath=(${(q)FOLDER} \$fpath); . ${(q)HOME}/inner.zsh"
heard READY
zpty -w -n asked "$1"$'\t'
heard ASKED
zpty -d asked
sort -u $ASK_HITS
