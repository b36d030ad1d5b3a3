# ask.fish LINE FOLDER: prints what fish would offer at the end of LINE, each with its description.
set -p fish_complete_path $argv[2]
complete -C "$argv[1]"
