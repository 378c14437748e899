# fish completion for tscrun: what can follow is asked of `tscrun __complete` at each press of the key.
function __tscrun_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] __complete -- $words[2..-1] $current 2>/dev/null)
    test (count $lines) -gt 0; or return
    set -l directive $lines[-1]
    set -e lines[-1]
    switch $directive
        case ':files' ':directories'
            set -l before (string match -r '^--[^=]*=' -- $current)
            for path in (__fish_complete_path (string replace -r '^--[^=]*=' '' -- $current))
                echo "$before$path"
            end
        case '*'
            printf '%s\n' $lines
    end
end
complete -c tscrun -e
complete -c tscrun -f -a '(__tscrun_complete)'
