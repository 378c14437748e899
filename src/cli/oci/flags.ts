import { type Flag, HELP_FLAG } from '../flags/flag.ts'

/** Flags before the verb; callers give them in either form, `--root DIR` and `--root=DIR`. */
export const RUNTIME_FLAGS: readonly Flag[] = [
  { name: 'root', kind: 'string', value: 'dir', help: 'Directory of the containers (default /run/tscrun-runtime)' },
  { name: 'log', kind: 'string', value: 'file', help: 'Append messages to a file' },
  { name: 'log-format', kind: 'string', value: 'format', help: 'Format of the messages there: text or json' },
  { name: 'debug', kind: 'bool', help: 'Log the steps as they run' },
  { name: 'systemd-cgroup', kind: 'bool', help: 'Have systemd make the cgroups' },
  { name: 'cgroup-manager', kind: 'string', value: 'name', help: 'cgroupfs, systemd or disabled' },
  { name: 'rootless', kind: 'string', value: 'when', help: 'true, false or auto' },
  { name: 'criu', kind: 'string', value: 'path', help: 'Accepted; there is no checkpoint' },
  { name: 'version', short: 'v', kind: 'bool', help: 'Print the version' },
  HELP_FLAG,
]
