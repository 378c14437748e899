/**
 * What docker and podman have and tscrun does not, so that a habit is answered by one clear line instead of a guess
 * at a typo. Loaded only after an unknown flag or command was met.
 */
export interface Unsupported {
  /** Flag or command names, separated by blanks; `p/publish` is a flag with its letter. */
  readonly names: string
  readonly hint?: string
}

const RUN: readonly Unsupported[] = [
  {
    names: 'link link-local-ip no-hosts publish-rule',
    hint: 'containers of a network of your own find each other by name: see --network',
  },
  { names: 'hosts-file no-hostname', hint: 'see --add-host; -v FILE:/etc/hosts puts another file in its place' },
  { names: 'a/attach sig-proxy', hint: 'run attaches to all of its standard streams' },
  { names: 'volume-driver image-volume', hint: 'volumes lie in the store: see tscrun volume create --help' },
  { names: 'gpus', hint: 'name the device files with --device' },
  { names: 'arch os variant', hint: 'use --platform OS/ARCH[/VARIANT]' },
  { names: 'uidmap gidmap subuidname subgidname hostuser', hint: '--userns auto picks a range of its own' },
  {
    names: 'kernel-memory memory-swappiness oom-kill-disable cpu-rt-period cpu-rt-runtime',
    hint: 'cgroup v2 has no such file',
  },
  { names: 'cgroup-parent cgroups blkio-weight-device rdt-class', hint: 'see --cgroup-conf' },
  { names: 'decryption-key retry retry-delay' },
  { names: 'env-host env-merge unsetenv unsetenv-all http-proxy', hint: 'name variables with -e' },
  {
    names:
      'health-log-destination health-max-log-count health-max-log-size health-startup-cmd health-startup-interval ' +
      'health-startup-retries health-startup-success health-startup-timeout',
    hint: 'see --health-start-period',
  },
  {
    names: 'pod pod-id-file shm-size-systemd preserve-fds preserve-fd pidfile sdnotify systemd requires replace rmi',
  },
  { names: 'read-only-tmpfs', hint: 'mount one with --tmpfs' },
  { names: 'domainname', hint: 'use --sysctl kernel.domainname=NAME' },
  {
    names:
      'chrootdirs group-entry passwd passwd-entry personality seccomp-policy secret tz use-api-socket init-path ' +
      'init-ctr',
  },
  {
    names:
      'runtime isolation storage-opt userland-proxy disable-content-trust cpu-count cpu-percent io-maxbandwidth ' +
      'io-maxiops',
  },
]

const OTHERS: Readonly<Record<string, readonly Unsupported[]>> = {
  pull: [
    { names: 'disable-content-trust policy' },
    { names: 'arch os variant', hint: 'use --platform OS/ARCH[/VARIANT]' },
    { names: 'decryption-key retry retry-delay' },
  ],
  push: [
    { names: 'disable-content-trust' },
    { names: 'platform', hint: 'what was pulled with --all-platforms is pushed with them' },
    { names: 'format f rm', hint: 'an image is pushed as it is stored, so that its digest stays' },
    { names: 'encryption-key encrypt-layer sign-by sign-by-sigstore sign-passphrase-file remove-signatures' },
    { names: 'retry retry-delay' },
  ],
  copy: [
    { names: 'src-authfile dest-authfile', hint: 'use --authfile' },
    { names: 'format f dest-compress dest-decompress dest-compress-format', hint: 'a copy is byte for byte' },
    { names: 'multi-arch', hint: 'use --all-platforms' },
    { names: 'sign-by encryption-key decryption-key retry-times preserve-digests remove-signatures' },
  ],
  login: [{ names: 'secret compat-auth-file' }],
  logout: [{ names: 'compat-auth-file' }],
  search: [{ names: 'compatible' }],
  exec: [
    { names: 'detach-keys', hint: 'a command that is to go on by itself is started with exec --detach' },
    { names: 'preserve-fds preserve-fd cidfile' },
  ],
  images: [{ names: 'history tree', hint: 'see tscrun history, tscrun image tree' }],
  rmi: [{ names: 'no-prune platform', hint: 'layers that another image has stay in any case' }],
  ps: [
    {
      names: 'ns p/pod sync w/watch external',
      hint: 'see --filter and --format',
    },
  ],
  rm: [
    {
      names: 'depend link',
      hint: 'tscrun rm $(tscrun ps -aq)',
    },
  ],
  '': [
    {
      names: 'H/host c/context config tls tlscacert tlscert tlskey tlsverify url connection identity ssh',
      hint: 'there is no daemon to connect to',
    },
    {
      names:
        'storage-driver storage-opt tmpdir cgroup-manager conmon runtime runtime-flag network-cmd-path ' +
        'events-backend hooks-dir syslog transient-store volumepath imagestore module noout out',
    },
  ],
}

const COMMANDS =
  'auto-update build builder buildx checkpoint cleanup clone compose config context ' +
  'farm init kube machine ' +
  'mount network node play plugin pod port prune quadlet restore scp ' +
  'secret service sign stack stats swarm top trust umount unmount ' +
  'unshare update volumes'

/** The entry for a flag of `command` (`''` for flags before it), by long name or single letter. */
export function unsupportedFlag(command: string, name: string): { name: string; hint?: string } | undefined {
  const tables = command === 'run' || command === 'create' ? RUN : (OTHERS[command] ?? [])
  for (const { names, hint } of tables) {
    for (const entry of names.split(' ')) {
      const [letter, long] = entry.includes('/') ? [entry[0], entry.slice(2)] : [undefined, entry]
      if (name === long || name === letter) return { name: long, ...(hint === undefined ? {} : { hint }) }
    }
  }
  return undefined
}

/** Whether docker or podman have a command of this name. */
export function isUnsupportedCommand(name: string): boolean {
  return COMMANDS.split(' ').includes(name)
}
