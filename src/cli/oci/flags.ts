import { type Flag, HELP_FLAG } from '../flags/flag.ts'

/** Flags before the verb; callers give them in either form, `--root DIR` and `--root=DIR`. */
export const RUNTIME_FLAGS: readonly Flag[] = [
  { name: 'root', kind: 'string', value: 'dir', help: 'Directory of the containers (default /run/tscrun-runtime)' },
  { name: 'log', kind: 'string', value: 'file', help: 'Append messages to a file' },
  { name: 'log-format', kind: 'string', value: 'format', help: 'Format of the messages: text or json' },
  { name: 'debug', kind: 'bool', help: 'Log the steps as they run' },
  { name: 'systemd-cgroup', kind: 'bool', help: 'Have systemd make the cgroups' },
  { name: 'cgroup-manager', kind: 'string', value: 'name', help: 'cgroupfs (default), systemd or disabled' },
  { name: 'rootless', kind: 'string', value: 'when', help: 'true, false or auto; accepted, the kernel tells' },
  { name: 'criu', kind: 'string', value: 'path', help: 'Accepted; there is no checkpoint' },
  { name: 'version', short: 'v', kind: 'bool', help: 'Print the version' },
  HELP_FLAG,
]

/** What `create` and `run` have in common. */
export const CREATE_FLAGS: readonly Flag[] = [
  { name: 'bundle', short: 'b', kind: 'string', value: 'dir', help: 'Directory with config.json (default: here)' },
  { name: 'config', short: 'f', kind: 'string', value: 'file', help: 'Another name than config.json' },
  { name: 'pid-file', kind: 'string', value: 'file', help: 'Write the pid of the first process here' },
  { name: 'console-socket', kind: 'string', value: 'socket', help: "Send the terminal's master here" },
  { name: 'pidfd-socket', kind: 'string', value: 'socket', help: "Send the first process's pidfd here" },
  { name: 'preserve-fds', kind: 'string', value: 'n', help: 'Hand descriptors 3 to 2+n on' },
  { name: 'no-pivot', kind: 'bool', help: 'Use chroot instead of pivot_root (for a root on an initramfs)' },
  { name: 'no-new-keyring', kind: 'bool', help: "Keep the caller's session keyring" },
]
