#compdef pipe
# Completion of pipe in zsh. In ~/.zshrc, behind compinit: source <(pipe completion zsh)
_pipe() {
    local line value help
    local -a closed closed_text open open_text
    for line in "${(@f)$(${(Q)~words[1]} complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        value=${line%%$'\t'*} help=${line#*$'\t'}
        [[ -n $value ]] || continue
        line=$value
        [[ $help == $value || -z $help ]] || line="$value  $help"
        if [[ $value == *[/=.] ]]; then
            open+=("$value") open_text+=("$line")
        else
            closed+=("$value") closed_text+=("$line")
        fi
    done
    local ret=1
    (( $#closed )) && compadd -l -d closed_text -a closed && ret=0
    (( $#open )) && compadd -l -S '' -d open_text -a open && ret=0
    return ret
}
if [[ $funcstack[1] == _pipe ]]; then
    _pipe "$@"
else
    compdef _pipe pipe
fi
