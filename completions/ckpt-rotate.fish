complete -c ckpt-rotate -s k -l keep -d 'Keep the newest N good checkpoints of each series' -r
complete -c ckpt-rotate -l keep-every -d 'Keep every checkpoint whose step is a multiple of STEPS' -r
complete -c ckpt-rotate -l keep-hourly -d 'Keep the newest of each of the last N hours that have any' -r
complete -c ckpt-rotate -l keep-daily -d 'Keep the newest of each of the last N days that have any' -r
complete -c ckpt-rotate -l keep-weekly -d 'Keep the newest of each of the last N weeks that have any' -r
complete -c ckpt-rotate -l keep-monthly -d 'Keep the newest of each of the last N months that have any' -r
complete -c ckpt-rotate -l keep-within -d 'Keep those at most this much older than the newest' -r
complete -c ckpt-rotate -l keep-best -d 'Keep the best K by --metric' -r
complete -c ckpt-rotate -l metric -d 'The measurement of --keep-best, and which end of it is good' -r
complete -c ckpt-rotate -l max-size -d 'Remove more, oldest first, until all take at most SIZE' -r
complete -c ckpt-rotate -l min-free -d 'Remove more, oldest first, until SIZE is free on the file system' -r
complete -c ckpt-rotate -l order -d 'What orders a series where its numbers and times disagree' -r -f -a "number\t'The numbers in the names'
time\t'The times of the files'"
complete -c ckpt-rotate -l save -d 'Save an atomic snapshot of a file or directory, then rotate if asked to' -r -F
complete -c ckpt-rotate -l make-room -d 'Free SIZE for the next checkpoint, or as much as the last ones took' -r
complete -c ckpt-rotate -l plan -d 'Write what would be removed to FILE, and remove nothing' -r -F
complete -c ckpt-rotate -l apply -d 'Remove what the plan in FILE says, if nothing of it changed' -r -F
complete -c ckpt-rotate -l pin -d 'Never remove NAME' -r
complete -c ckpt-rotate -l unpin -d 'Take back a --pin' -r
complete -c ckpt-rotate -l hold -d 'Run CMD, and let no rotation remove NAME meanwhile' -r
complete -c ckpt-rotate -l tag -d 'Append this to the snapshot\'s name' -r
complete -c ckpt-rotate -l max-age -d 'With --check: how old the newest good one may be' -r
complete -c ckpt-rotate -l min-valid -d 'With --check: how many good ones there must be' -r
complete -c ckpt-rotate -l pattern -d 'Take only names that match GLOB for checkpoints (repeatable)' -r
complete -c ckpt-rotate -l level -d 'How much is read to judge a checkpoint' -r -f -a "quick\t'Structure'
deep\t'Every byte that a checksum covers'
off\t'Nothing; for looking at a policy'"
complete -c ckpt-rotate -l min-age -d 'Leave alone what is younger than this' -r
complete -c ckpt-rotate -l trash-for -d 'Keep what was removed in the trash for so long' -r
complete -c ckpt-rotate -l drop-broken -d 'Remove broken checkpoints too, where a newer good one exists'
complete -c ckpt-rotate -l latest -d 'Print the newest good checkpoint'
complete -c ckpt-rotate -l verify -d 'Judge every checkpoint'
complete -c ckpt-rotate -l check -d 'Say whether there are enough good and recent checkpoints'
complete -c ckpt-rotate -l undo -d 'Bring back what is still in the trash'
complete -c ckpt-rotate -l link-latest -d 'Make the link \'latest\' point at the snapshot'
complete -c ckpt-rotate -l hardlink -d 'Link files instead of copying them'
complete -c ckpt-rotate -l defer -d 'Leave the unlinking to the next run without --defer'
complete -c ckpt-rotate -s n -l dry-run -d 'Show what would happen, and do nothing'
complete -c ckpt-rotate -l json -d 'Print one JSON object a checkpoint'
complete -c ckpt-rotate -s v -l verbose -d 'Print what is kept and removed, and why'
complete -c ckpt-rotate -s q -l quiet -d 'Don\'t name what was left alone'
complete -c ckpt-rotate -l unsafe-lock -d 'Lock a directory on a network file system all the same'
complete -c ckpt-rotate -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ckpt-rotate -s V -l version -d 'Print version'
