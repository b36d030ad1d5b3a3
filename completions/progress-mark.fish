# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_progress_mark_global_optspecs
    string join \n f/file= fields= strict no-cache unsafe-lock json dry-run q/quiet v/verbose h/help V/version
end

function __fish_progress_mark_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_progress_mark_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_progress_mark_using_subcommand
    set -l cmd (__fish_progress_mark_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c progress-mark -n "__fish_progress_mark_needs_command" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_needs_command" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_needs_command" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -s V -l version -d 'Print version'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "add" -d 'Mark items done, durably'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "todo" -d 'Print the candidates on standard input that aren\'t done'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "run" -d 'Run a command unless the item is done, and mark it when it succeeds'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "undo" -d 'Take items back: they are to do again'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "list" -d 'Print the items that are done'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "check" -d 'Look for damage'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "repair" -d 'Move damaged lines out of the journal'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "compact" -d 'Rewrite the journal sorted and without repetition'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "edit" -d 'Change the journal in an editor without losing what is marked meanwhile'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "import" -d 'Mark the items of a progress.json done'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "export" -d 'Write the done items as a progress.json'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "show" -d 'Show how many items are done, the rate, and the time left'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "due" -d 'Exit 0 when so many items were done since the last "saved"'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "saved" -d 'Note that the items done so far were saved'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "set" -d 'Tell how far the current job is'
complete -c progress-mark -n "__fish_progress_mark_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -s k -l key -d 'The columns that make the key, as in cut(1) but in the order given: 1,3 or 2-4' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -s t -l separator -d 'What separates columns: one character [default: TAB]' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -l jsonl -d 'Keys are JSON Lines: objects with the key\'s fields, or lists'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand add" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s k -l key -d 'The columns that make the key, as in cut(1) but in the order given: 1,3 or 2-4' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s t -l separator -d 'What separates columns: one character [default: TAB]' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l claim -d 'Lease what is printed for so long, so that no other worker gets it' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l holder -d 'The process a lease belongs to [default: the caller]' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s n -l limit -d 'Print so many at most' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l jsonl -d 'Keys are JSON Lines: objects with the key\'s fields, or lists'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s c -l count -d 'Print how many there are, not which'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l sorted -d 'The candidates and the journal are both sorted: needs next to no memory'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand todo" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -s k -l key -d 'The columns that make the key, as in cut(1) but in the order given: 1,3 or 2-4' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -s t -l separator -d 'What separates columns: one character [default: TAB]' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -l jsonl -d 'Keys are JSON Lines: objects with the key\'s fields, or lists'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand run" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -s k -l key -d 'The columns that make the key, as in cut(1) but in the order given: 1,3 or 2-4' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -s t -l separator -d 'What separates columns: one character [default: TAB]' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -l jsonl -d 'Keys are JSON Lines: objects with the key\'s fields, or lists'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand undo" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -s t -l separator -d 'What separates the fields of a key' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand list" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand check" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand repair" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand compact" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand edit" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand import" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand export" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -l total -d 'How many items there are' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand show" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -l every -d 'How many items make a save worth it' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand due" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand saved" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l note -d 'What to say' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l total -d 'How many items there are' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l done -d 'How many are done' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l job -d 'Of which job [default: the one this runs in]' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l dir -d 'The jobs directory' -r -f -a "(__fish_complete_directories)"
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -s f -l file -d 'The journal [default: progress.jsonl]' -r -F
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l fields -d 'The key\'s fields, for a journal or an input of objects without a header' -r
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l strict -d 'Fail when the journal has a damaged line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l no-cache -d 'Neither read nor write the cache FILE.idx'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l unsafe-lock -d 'Trust locks on a network file system'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l json -d 'Print JSON, one object a line'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -l dry-run -d 'Say what would be done, and change nothing'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -s q -l quiet -d 'No warnings, no progress bar, no echo'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -s v -l verbose -d 'Say how the work was done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand set" -s h -l help -d 'Print help'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "add" -d 'Mark items done, durably'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "todo" -d 'Print the candidates on standard input that aren\'t done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "run" -d 'Run a command unless the item is done, and mark it when it succeeds'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "undo" -d 'Take items back: they are to do again'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "list" -d 'Print the items that are done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "check" -d 'Look for damage'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "repair" -d 'Move damaged lines out of the journal'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "compact" -d 'Rewrite the journal sorted and without repetition'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "edit" -d 'Change the journal in an editor without losing what is marked meanwhile'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "import" -d 'Mark the items of a progress.json done'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "export" -d 'Write the done items as a progress.json'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "show" -d 'Show how many items are done, the rate, and the time left'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "due" -d 'Exit 0 when so many items were done since the last "saved"'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "saved" -d 'Note that the items done so far were saved'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "set" -d 'Tell how far the current job is'
complete -c progress-mark -n "__fish_progress_mark_using_subcommand help; and not __fish_seen_subcommand_from add todo run undo list check repair compact edit import export show due saved set help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'

# Jobs by name and id, from the directory that the command line means.
function __progress__mark_jobs
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
