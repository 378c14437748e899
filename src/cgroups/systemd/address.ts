import { malformed } from './error.ts'

/** Where the system bus listens if the environment does not say (D-Bus Specification, Well-known Message Bus Instances). */
export const SYSTEM_BUS = 'unix:path=/run/dbus/system_bus_socket'

/**
 * The unix sockets of a D-Bus address such as `unix:path=/run/x;unix:abstract=y`, in its order; an abstract one begins
 * with a zero byte. Other transports are passed over. Throws SYSTEMD for what is no address, or has no unix socket.
 */
export function unixSockets(address: string): string[] {
  const sockets = address
    .split(';')
    .filter((entry) => entry !== '')
    .flatMap((entry) => {
      const [, transport, list = ''] = /^([A-Za-z0-9_-]+):(.*)$/.exec(entry) ?? []
      if (transport === undefined) throw malformed(`address ${JSON.stringify(entry)} names no transport`)
      if (transport !== 'unix') return []
      const options = new Map(list.split(',').map((option) => keyAndValue(entry, option)))
      const path = options.get('path')
      const abstract = options.get('abstract')
      if (path !== undefined) return [path]
      return abstract === undefined ? [] : [`\0${abstract}`]
    })
  if (sockets.length === 0) throw malformed(`address ${JSON.stringify(address)} has no unix socket`)
  return sockets
}

function keyAndValue(entry: string, option: string): readonly [string, string] {
  const at = option.indexOf('=')
  if (at <= 0) throw malformed(`address ${JSON.stringify(entry)} has ${JSON.stringify(option)}`)
  return [option.slice(0, at), unescaped(entry, option.slice(at + 1))]
}

/** `%2c` for a byte that would not stand for itself. */
function unescaped(entry: string, value: string): string {
  if (!/^(?:[^%]|%[0-9A-Fa-f]{2})*$/.test(value)) throw malformed(`address ${JSON.stringify(entry)} is escaped wrongly`)
  const bytes = Buffer.from(
    value.replaceAll(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )
  return bytes.toString()
}
