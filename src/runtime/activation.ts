import type { OciMount } from '../model/config.ts'
import type { Bundle } from './bundle.ts'

/** Where the container finds the socket that its readiness is told to. */
const NOTIFY_AT = '/run/notify.sock'

/**
 * What a service manager gave us is the container's: descriptors (LISTEN_FDS, sd_listen_fds(3)), which go along as
 * preserved ones, and the socket that readiness is told to (NOTIFY_SOCKET, sd_notify(3)), which is bound into it.
 */
export function withActivation(bundle: Bundle): Bundle {
  const { process: own } = bundle.config
  if (own === undefined) return bundle
  const env: string[] = []
  const mounts: OciMount[] = []
  const count = listenFds()
  if (count > 0) env.push(`LISTEN_FDS=${count}`, 'LISTEN_PID=1')
  const socket = process.env['NOTIFY_SOCKET'] ?? ''
  // One in the abstract namespace has no file that could be bound.
  if (socket.startsWith('/')) {
    env.push(`NOTIFY_SOCKET=${NOTIFY_AT}`)
    mounts.push({
      destination: NOTIFY_AT,
      type: 'bind',
      source: socket,
      options: ['bind', 'nosuid', 'nodev', 'noexec'],
    })
  }
  if (env.length === 0) return bundle
  const config = {
    ...bundle.config,
    process: { ...own, env: [...(own.env ?? []), ...env] },
    ...(mounts.length === 0 ? {} : { mounts: [...(bundle.config.mounts ?? []), ...mounts] }),
  }
  return { ...bundle, config }
}

/** How many descriptors, from 3 on, socket activation has given us. */
export function listenFds(): number {
  const count = process.env['LISTEN_FDS'] ?? ''
  return /^[1-9][0-9]{0,3}$/.test(count) ? Number(count) : 0
}
