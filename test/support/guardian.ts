import { spawn } from 'node:child_process'
import { Socket } from 'node:net'

// A test process may end by a signal that no handler sees (vitest sends SIGKILL to one that hangs), so its children
// cannot be left to an exit handler. This shell outlives it: when the pipe to its stdin closes, whichever way that
// happened, it kills what is still watched and removes the folders named with it.
const SCRIPT = `
trap '' INT TERM HUP
pids=' '
folders=
while read -r verb what; do
  case $verb in
    watch) pids="$pids$what " ;;
    forget) case $pids in *" $what "*) pids="\${pids%% $what *} \${pids#* $what }" ;; esac ;;
    remove) folders="$folders $what" ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
for folder in $folders; do rm -rf "$folder"; done
`

const guardian = spawn('/bin/sh', ['-c', SCRIPT], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
guardian.unref()
// The types know a plain stream, but it is a socket, and its handle would keep the test process alive.
if (guardian.stdin instanceof Socket) guardian.stdin.unref()

/** Kills the process when this one ends, however it ends. */
export function killWithThisProcess(pid: number): void {
  guardian.stdin.write(`watch ${pid}\n`)
}

/** The process has ended: its number may soon be another's, and must not be killed any more. */
export function forgetProcess(pid: number): void {
  guardian.stdin.write(`forget ${pid}\n`)
}

/** Removes the folder when this process ends, however it ends. The path must hold no white space. */
export function removeWithThisProcess(folder: string): void {
  guardian.stdin.write(`remove ${folder}\n`)
}
