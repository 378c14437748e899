// npm run bench: builds tscrun and the bench (TypeScript, which Node 20 does not run), then starts it. Where cgroup v2
// is not what lies at /sys/fs/cgroup, that is arranged in a mount namespace of the bench's own: the peers look there.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('..', import.meta.url))
// Below the checkout, so that packages and the native files are found; not in dist/, which a build sweeps.
const bundle = join(root, 'test/.cache/bench/main.mjs')

function run(program, args) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit' })
  if (error) throw error
  return status ?? 1
}

if (process.geteuid() !== 0) {
  console.error('bench: starting containers needs root: sudo env PATH="$PATH" npm run bench')
  process.exit(1)
}
const built = run(process.execPath, ['scripts/build.mjs']) || run('make', ['-s', '-C', 'native'])
if (built !== 0) process.exit(built)
const build = await rolldown({
  input: join(root, 'bench/main.ts'),
  platform: 'node',
  external: [/^koffi$/, /^@koromix\//, /^execa$/, /^tar-stream$/],
  transform: { target: 'node20.19' },
})
await build.write({ file: bundle, format: 'esm' })
await build.close()

// Before everything else that runs on this machine: what is measured then is less disturbed, and disturbs the others.
const realtime = process.argv.includes('--realtime') ? ['chrt', '--rr', '20'] : []
const args = [...realtime, process.execPath, bundle, ...process.argv.slice(2)]
const unified = existsSync('/sys/fs/cgroup/cgroup.controllers')
const mounted = '{ umount -R /sys/fs/cgroup || true; } && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
process.exit(unified ? run(args[0], args.slice(1)) : run('unshare', ['--mount', 'sh', '-c', mounted, 'sh', ...args]))
