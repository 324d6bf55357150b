# Completion of ketukd and ketuk for fish.
function __ketuk_complete
    set -l token (commandline -ct)
    set -l found (/usr/share/ketuk/complete (commandline -opc) "$token")
    if test "$found[1]" = FILES
        __fish_complete_path "$token"
    else
        printf '%s\n' $found
    end
end
complete -c ketukd -f -a '(__ketuk_complete)'
complete -c ketuk -f -a '(__ketuk_complete)'
