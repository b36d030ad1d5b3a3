complete -c bgrun -s n -l name -d 'The job\'s name (default: the command\'s base name)' -r
complete -c bgrun -s e -l env -d 'Set a variable for the job and record it; repeatable' -r
complete -c bgrun -l env-secret -d 'Pass a variable of the environment and record only its name; repeatable' -r
complete -c bgrun -s C -l chdir -d 'Run in this directory' -r -f -a "(__fish_complete_directories)"
complete -c bgrun -l nice -d 'Add to the scheduling priority, -20 to 19' -r
complete -c bgrun -l ionice -d 'I/O class: idle, best-effort[:0-7] or realtime[:0-7]' -r
complete -c bgrun -l oom-score-adj -d 'How willingly the kernel kills it for memory, -1000 to 1000 (default: at least 500)' -r
complete -c bgrun -l grace -d 'From the polite signal of a cancel to SIGKILL' -r
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
complete -c bgrun -l unsafe-lock -d 'Use a jobs directory on a network file system, where locks prove nothing to other hosts'
complete -c bgrun -s h -l help -d 'Print help'
complete -c bgrun -s V -l version -d 'Print version'
complete -c bgrun -x -a '(__fish_complete_subcommand -- -n --name -e --env --env-secret -C --chdir --nice --ionice --oom-score-adj --grace --dir --log-dir --log)'
