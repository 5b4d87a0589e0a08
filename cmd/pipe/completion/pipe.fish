# Completion of pipe in fish. pipe completion fish >~/.config/fish/completions/pipe.fish
function __pipe_complete
    set -l words (commandline -opc)
    command $words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c pipe -f -k -a '(__pipe_complete)'
