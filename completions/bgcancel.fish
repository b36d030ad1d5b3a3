complete -c bgcancel -s s -l signal -d 'The polite signal' -r
complete -c bgcancel -s g -l grace -d 'From the polite signal to SIGKILL (default: the job\'s own)' -r
complete -c bgcancel -s r -l reason -d 'Why, for the job\'s record' -r
complete -c bgcancel -l dir -d 'The jobs directory' -r -f -a "(__fish_complete_directories)"
complete -c bgcancel -s a -l all -d 'Every live job of these names, or all live jobs'
complete -c bgcancel -l dry-run -d 'Say what would be stopped and do nothing'
complete -c bgcancel -l json -d 'One JSON object a job'
complete -c bgcancel -s q -l quiet -d 'Print nothing but errors'
complete -c bgcancel -s h -l help -d 'Print help'
complete -c bgcancel -s V -l version -d 'Print version'

# Jobs by name and id, from the directory that the command line means.
function __bgcancel_jobs
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
    for line in (bgstatus $dir -o state,id,name 2>/dev/null)
        set -l job (string split -n ' ' -- $line)
        # A record can say anything: what the shell would not take as a plain word is left out.
        string match -qr '[][$`"\'\\\\(){}<>&|;*?!#~=%^,:@+/]' -- "$job[2..-1]"; and continue
        switch $job[1]
            case queued running waiting
                printf '%s\t%s\n' $job[2] $job[1] $job[3] "newest: $job[1]"
        end
    end
end
complete -c bgcancel -f -k -a '(__bgcancel_jobs)'
