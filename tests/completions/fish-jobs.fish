
# Jobs by name and id, from the directory that the command line means.
function __@FN@_jobs
    set -l words (commandline -opc)
    set -l dir
    for i in (seq (count $words))
        switch $words[$i]
            case --
                break
            case --dir
                test $i -lt (count $words); and set dir --dir $words[(math $i + 1)]
            case '--dir=*'
                set dir --dir (string replace -- --dir= '' $words[$i])
        end
    end
    set -q dir[2]; and set dir[2] (string replace -r -- '^~/' "$HOME/" $dir[2])
    for line in (bgstatus $dir @LISTED@ 2>/dev/null)
        set -l job (string split -n ' ' -- $line)
        # A record can say anything: what the shell would not take as a plain word is left out.
        string match -qr '[][$`"\'\\\\(){}<>&|;*?!#~=%^,:@+/]' -- "$job[2..-1]"; and continue
        switch $job[1]
            case @STATES@
                printf '%s\t%s\n' $job[2] $job[1] $job[3] "newest: $job[1]"
        end
    end
end
