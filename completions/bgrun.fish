complete -c bgrun -s n -l name -d 'The job\'s name (default: the command\'s base name)' -r
complete -c bgrun -s e -l env -d 'Set a variable for the job and record it; repeatable' -r
complete -c bgrun -l env-secret -d 'Pass a variable of the environment and record only its name; repeatable' -r
complete -c bgrun -s C -l chdir -d 'Run in this directory' -r -f -a "(__fish_complete_directories)"
complete -c bgrun -l nice -d 'Add to the scheduling priority, -20 to 19' -r
complete -c bgrun -l ionice -d 'I/O class: idle, best-effort[:0-7] or realtime[:0-7]' -r
complete -c bgrun -l oom-score-adj -d 'How willingly the kernel kills it for memory, -1000 to 1000 (default: at least 500)' -r
complete -c bgrun -l isolate -d 'What keeps the job apart from its caller' -r -f -a "auto\t'The best that is to be had'
systemd\t'Scopes of systemd'
cgroup\t'Control groups beside the caller\'s'
none\t'A session of its own and nothing more'"
complete -c bgrun -l memory-high -d 'Slow the job down and take memory back above this size' -r
complete -c bgrun -l memory-max -d 'Kill in the job above this size, and nowhere else' -r
complete -c bgrun -l memory-swap-max -d 'Give the job so much swap at most' -r
complete -c bgrun -l cpus -d 'Give the job the time of so many processors at most, 0.01 or more' -r
complete -c bgrun -l pids-max -d 'Let the job have so many processes and threads at most' -r
complete -c bgrun -l grace -d 'From the polite signal of a cancel or a time limit to SIGKILL' -r
complete -c bgrun -l timeout -d 'Stop a run that takes longer; the job is timed-out' -r
complete -c bgrun -l warn-signal -d 'Send the command a signal so long before its time limit, like USR1@60s' -r
complete -c bgrun -l restart -d 'When to start the command again' -r -f -a "never\t'It runs once'
on-failure\t'After a run that didn\'t end with 0'
always\t'After every run'"
complete -c bgrun -l max-restarts -d 'Restarts after failures in a row (default: 5)' -r
complete -c bgrun -l backoff -d 'The first pause before a restart, doubled each time, and the longest (default: 1s..5m)' -r
complete -c bgrun -l max-failures -d 'Start nothing again after so many failures within so long, like 5/10m' -r
complete -c bgrun -l every -d 'Run it again and again, so long from one start to the next; never two at once' -r
complete -c bgrun -l max-runs -d 'Runs in all' -r
complete -c bgrun -l watchdog -d 'Stop a run that is silent and idle for so long' -r
complete -c bgrun -l after -d 'Start when this job has succeeded; skipped when it fails; repeatable' -r
complete -c bgrun -l after-any -d 'Start when this job has ended, however; repeatable' -r
complete -c bgrun -l delay -d 'Start so long from now' -r
complete -c bgrun -l queue -d 'Wait for a slot of this queue: first come, first served' -r
complete -c bgrun -l slots -d 'How many jobs of the queue run at a time, from now on; without a command this is all that is done' -r
complete -c bgrun -l priority -d 'Be served before jobs of a lower priority, -1000 to 1000 (default: 0)' -r
complete -c bgrun -l on-end -d 'When the job has ended, run this with sh, the record on its standard input' -r -f -a "(__fish_complete_command)"
complete -c bgrun -l on-fail -d 'The same after a failure that no restart follows' -r -f -a "(__fish_complete_command)"
complete -c bgrun -l on-stuck -d 'The same when the watchdog has stopped a run' -r -f -a "(__fish_complete_command)"
complete -c bgrun -l dir -d 'The jobs directory' -r -f -a "(__fish_complete_directories)"
complete -c bgrun -l log-dir -d 'Put ID.log into this directory' -r -f -a "(__fish_complete_directories)"
complete -c bgrun -l log -d 'Log to this very file, which must not be there yet' -r -F
complete -c bgrun -l memsafe -d 'One thread for each numeric library and two malloc arenas, where not set already'
complete -c bgrun -l unique -d 'Exit 75 when a job of that name is live'
complete -c bgrun -s w -l wait -d 'Wait for the end and exit with the job\'s status'
complete -c bgrun -s f -l follow -d 'Show the log meanwhile (implies --wait); the id goes to standard error'
complete -c bgrun -l json -d 'Print the job\'s record instead of its id'
complete -c bgrun -s q -l quiet -d 'Print nothing but errors'
complete -c bgrun -l dry-run -d 'Say what would be started and do nothing'
complete -c bgrun -l watchdog-any-cpu -d 'A run that is silent is stuck even while it uses the processor'
complete -c bgrun -l unsafe-lock -d 'Use a jobs directory on a network file system, where locks prove nothing to other hosts'
complete -c bgrun -l recover -d 'Adopt the jobs whose supervisor was killed, and start those again that asked for it'
complete -c bgrun -l recover-env -d 'Keep the environment in the jobs directory, so that --recover can start the job in it'
complete -c bgrun -s h -l help -d 'Print help (see more with \'--help\')'
complete -c bgrun -s V -l version -d 'Print version'

# Jobs by name and id, from the directory that the command line means.
function __bgrun_jobs
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
complete -c bgrun -l after -x -k -a '(__bgrun_jobs)'
complete -c bgrun -l after-any -x -k -a '(__bgrun_jobs)'
complete -c bgrun -x -a '(__fish_complete_subcommand -- -n --name -e --env --env-secret -C --chdir --nice --ionice --oom-score-adj --isolate --memory-high --memory-max --memory-swap-max --cpus --pids-max --grace --timeout --warn-signal --restart --max-restarts --backoff --max-failures --every --max-runs --watchdog --after --after-any --delay --queue --slots --priority --on-end --on-fail --on-stuck --dir --log-dir --log)'
