# Completion of pipe in bash. In ~/.bashrc: source <(pipe completion bash)
_pipe() {
    # bash splits words at = and : too; put together what stands together.
    local line=$COMP_LINE word i
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            words+=("$word")
        else
            words[${#words[@]}-1]+=$word
        fi
        line=${line#"$word"}
    done
    # bash replaces only the last part of such a word.
    local piece=${COMP_WORDS[COMP_CWORD]} whole=${words[${#words[@]}-1]}
    [[ $piece == [=:] ]] && piece=
    local before=${whole%"$piece"} quoted=
    [[ $piece == [\'\"]* ]] && quoted=1
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        word=${word#"$before"}
        [[ $quoted ]] || printf -v word %q "$word"
        COMPREPLY+=("$word")
    done < <("${words[0]/#\~/$HOME}" complete -- "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=.] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o nosort -F _pipe pipe 2>/dev/null || complete -F _pipe pipe
