complete -c bgstatus -s o -l output -d 'The columns, separated by commas' -r -f -a "id\t''
name\t''
state\t''
exit\t''
pid\t''
run\t''
created\t''
started\t''
ended\t''
elapsed\t''
cpu\t''
peak\t''
progress\t''
reason\t''
info\t''
cmd\t''
cwd\t''
log\t''
user\t''
host\t''"
complete -c bgstatus -l state -d 'Only jobs in these states, separated by commas' -r -f -a "queued\t'Accepted, not started yet'
running\t'Its command runs'
waiting\t'Between two runs'
succeeded\t'The command ended with 0'
failed\t'The command ended otherwise'
cancelled\t'Stopped on request'
timed-out\t'Stopped at its time limit'
oom-killed\t'Killed by the kernel for memory, with proof'
skipped\t'What it waited for failed'
lost\t'The truth can\'t be known'"
complete -c bgstatus -l since -d 'Only jobs that are live or ended within this time' -r
complete -c bgstatus -l timeout -d 'Wait no longer than this, then exit 124' -r
complete -c bgstatus -l dir -d 'The jobs directory' -r -f -a "(__fish_complete_directories)"
complete -c bgstatus -s a -l all -d 'All jobs, not only the live and the latest; all of a name'
complete -c bgstatus -l json -d 'One JSON object a job'
complete -c bgstatus -s w -l wait -d 'Wait for the end and exit with the job\'s status'
complete -c bgstatus -s l -l log -d 'Print the log'
complete -c bgstatus -s f -l follow -d 'Print the log and what is added to it until the job ends'
complete -c bgstatus -s q -l quiet -d 'Print nothing but errors'
complete -c bgstatus -s h -l help -d 'Print help (see more with \'--help\')'
complete -c bgstatus -s V -l version -d 'Print version'

# Jobs by name and id, from the directory that the command line means.
function __bgstatus_jobs
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
    for line in (bgstatus $dir -a -o state,id,name 2>/dev/null)
        set -l job (string split -n ' ' -- $line)
        # A record can say anything: what the shell would not take as a plain word is left out.
        string match -qr '[][$`"\'\\\\(){}<>&|;*?!#~=%^,:@+/]' -- "$job[2..-1]"; and continue
        switch $job[1]
            case queued running waiting succeeded failed cancelled timed-out oom-killed skipped lost
                printf '%s\t%s\n' $job[2] $job[1] $job[3] "newest: $job[1]"
        end
    end
end
complete -c bgstatus -f -k -a '(__bgstatus_jobs)'
