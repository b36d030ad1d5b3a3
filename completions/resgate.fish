complete -c resgate -l max-cpu -d 'At most PCT percent of the CPUs in use that this process may use' -r
complete -c resgate -l max-mem -d 'At most PCT percent of the memory in use or promised, of the machine or of a tighter control group' -r
complete -c resgate -l max-swap -d 'At most PCT percent of the swap space in use' -r
complete -c resgate -l max-load -d 'At most LOAD as the load average of the last minute' -r
complete -c resgate -l max-pressure -d 'At most PCT percent of the last ten seconds spent waiting for cpu, memory or io' -r
complete -c resgate -l min-mem -d 'At least SIZE of memory free and not promised' -r
complete -c resgate -l min-disk -d 'At least SIZE free on the disk of PATH, by default of the current directory' -r
complete -c resgate -l min-inodes -d 'At least N inodes free on the disk of PATH, by default of the current directory' -r
complete -c resgate -l min-gpu-mem -d 'At least SIZE of memory free on a GPU; with --gpus, on each, which is then shared' -r
complete -c resgate -l gpus -d 'N GPUs for the command alone, or a share of each with --min-gpu-mem' -r
complete -c resgate -l claim-mem -d 'SIZE of memory for the command, promised to nobody else while it runs' -r
complete -c resgate -l wait -d 'Wait until the gate is open, for TIMEOUT at most' -r
complete -c resgate -l interval -d 'How often to look while waiting' -r
complete -c resgate -l steady -d 'Wait until the gate has been open for DURATION without a break' -r
complete -c resgate -l gpu-env -d 'How the command is told its GPUs: by index or by UUID' -r -f -a "index\t'`0,2`'
uuid\t'`GPU-…`'"
complete -c resgate -l claim-dir -d 'Keep and see claims in DIR, not in the machine\'s directory' -r -F
complete -c resgate -l dir -d 'The directory of the jobs, where claims are kept when the machine and the session have none' -r -F
complete -c resgate -l unknown -d 'What a gauge without an answer means: an error, or a limit left out' -r -f -a "error\t'The call fails'
open\t'The limit is left out, and that is said'"
complete -c resgate -l probe-timeout -d 'How long a GPU or a file system may take to answer' -r
complete -c resgate -s E -l closed-code -d 'The exit code for closed' -r
complete -c resgate -l root -d 'See the machine whose /proc and /sys are below DIR' -r -F
complete -c resgate -l defaults -d 'The default limits as well: CPU and memory 90 %, 1 GiB of disk, 2 GiB on a GPU if there is one'
complete -c resgate -l supervise -d 'Stay as the command\'s parent and hold its claims'
complete -c resgate -l list-claims -d 'Show who was promised what, and nothing else'
complete -c resgate -l fail-loud -d 'Exit 255 on a failure of its own, for `ExecCondition=` of systemd'
complete -c resgate -s q -l quiet -d 'Say nothing when the gate is closed'
complete -c resgate -s v -l verbose -d 'Show every check on standard error'
complete -c resgate -l json -d 'Print every check as JSON on standard output'
complete -c resgate -s h -l help -d 'Print help (see more with \'--help\')'
complete -c resgate -s V -l version -d 'Print version'
