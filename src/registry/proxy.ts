import * as http from 'node:http'
import * as https from 'node:https'
import { connect, isIP, type Socket } from 'node:net'
import * as tls from 'node:tls'
import { TscrunError } from '../model/errors.ts'
import type { Environment } from './environment.ts'
import { isLoopback } from './hosts.ts'

/** How long a proxy may take to be reached. */
const PATIENCE_MS = 30_000
const SILENCE = 'no answer for 30 s'

/** The proxy the environment names for a URL; undefined for none. Loopback is never asked through one. */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const names = url.protocol === 'https:' ? ['HTTPS_PROXY', 'ALL_PROXY'] : ['HTTP_PROXY', 'ALL_PROXY']
  const value = names.map((name) => env[name.toLowerCase()] || env[name]).find((text) => text)
  if (value === undefined || isLoopback(url.hostname) || isExempt(url, env['no_proxy'] || env['NO_PROXY'] || ''))
    return undefined
  const text = value.includes('://') ? value : `http://${value}`
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new TscrunError(
      'NETWORK',
      `proxy ${JSON.stringify(value.replace(/[^/]*@/, ''))}: not an http:// or https:// address`,
      {
        hint: 'mend HTTPS_PROXY or HTTP_PROXY in the environment',
      },
    )
  }
  return new URL(text)
}

/** NO_PROXY as curl reads it: `*`, host names with everything below them, with an optional port. */
function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.toLowerCase().replace(/^\[|\]$/g, '')
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return list
    .split(/[\s,]+/)
    .filter((item) => item !== '')
    .some((item) => {
      if (item === '*') return true
      const match = /^\[?(.*?)\]?(?::(\d+))?$/.exec(item.toLowerCase())
      const isAddress = item.includes('::') && !item.startsWith('[')
      const name = (isAddress ? item.toLowerCase() : (match?.[1] ?? '')).replace(/^\*?\./, '')
      if (!isAddress && match?.[2] !== undefined && match[2] !== port) return false
      return host === name || host.endsWith(`.${name}`)
    })
}

/** An agent that asks through a proxy: by a tunnel for TLS, else by handing the request over, as curl and Go do. */
export function proxyAgent(proxy: URL, isTls: boolean, options: https.AgentOptions): http.Agent {
  return isTls ? tunnelAgent(proxy, options) : forwardAgent(proxy, options)
}

type Connected = (error: Error | null, socket?: Socket) => void

/** The proxy is sent the request with the complete address (RFC 9112, 3.2.2); many tunnel to port 443 alone. */
function forwardAgent(proxy: URL, options: http.AgentOptions): http.Agent {
  // The types list neither of what agents ask of themselves.
  const agent = new http.Agent(options) as http.Agent & {
    addRequest(request: http.ClientRequest, target: object): void
  }
  const addRequest = agent.addRequest.bind(agent)
  const { host, port } = placeOf(proxy)
  const login = loginFor(proxy)
  return Object.assign(agent, {
    addRequest(request: http.ClientRequest, target: object): void {
      request.path = `http://${String(request.getHeader('host'))}${request.path}`
      if (login !== undefined) request.setHeader('proxy-authorization', login)
      addRequest(request, target)
    },
    createConnection(target: { readonly host?: string; readonly port?: number }, done: Connected): undefined {
      const socket = proxy.protocol === 'https:' ? tls.connect({ host, port, ...nameOf(host) }) : connect(port, host)
      const fail = (error: Error): void =>
        done(unreachable(proxy, `${target.host}:${target.port}`, error.message, error))
      const giveUp = (): void => void socket.destroy(new Error(SILENCE))
      socket.setTimeout(PATIENCE_MS, giveUp)
      socket.once('error', fail)
      socket.once(proxy.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        socket.off('error', fail)
        socket.setTimeout(0, giveUp)
        done(null, socket)
      })
      return undefined
    },
  })
}

/** An agent whose connections are tunnels through a proxy (CONNECT, RFC 9110 9.3.6). */
function tunnelAgent(proxy: URL, options: https.AgentOptions): http.Agent {
  const agent = new https.Agent(options)
  const open = (target: tls.ConnectionOptions, done: Connected): undefined => {
    openTunnel(proxy, `${target.host}:${target.port}`).then(
      (socket) =>
        done(null, tls.connect({ ...options, ...target, socket, servername: target.servername ?? target.host ?? '' })),
      (error: unknown) => done(error as Error),
    )
    return undefined
  }
  // Agents ask this of themselves; the types do not list it.
  return Object.assign(agent, { createConnection: open })
}

/** The name that a certificate is asked for by; an address is none (RFC 6066, 3). */
function nameOf(host: string): { readonly servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {}
}

function placeOf(proxy: URL): { readonly host: string; readonly port: number } {
  const host = proxy.hostname.replace(/^\[|\]$/g, '')
  return { host, port: Number(proxy.port) || (proxy.protocol === 'https:' ? 443 : 80) }
}

function loginFor({ username, password }: URL): string | undefined {
  if (username === '') return undefined
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return `Basic ${Buffer.from(credentials).toString('base64')}`
}

function unreachable(proxy: URL, target: string, reason: string, cause?: unknown): TscrunError {
  return new TscrunError('NETWORK', `connect ${target} through the proxy ${proxy.host}: ${reason}`, {
    subject: proxy.host,
    cause,
  })
}

function openTunnel(proxy: URL, target: string): Promise<Socket> {
  const login = loginFor(proxy)
  const request = (proxy.protocol === 'https:' ? https : http).request({
    ...placeOf(proxy),
    method: 'CONNECT',
    path: target,
    agent: false,
    headers: {
      host: target,
      ...(login === undefined ? {} : { 'proxy-authorization': login }),
    },
  })
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown): void => reject(unreachable(proxy, target, reason, cause))
    request.setTimeout(PATIENCE_MS, () => request.destroy(new Error(SILENCE)))
    request.once('connect', (response, socket) => {
      if (response.statusCode === 200) return resolve(socket)
      socket.destroy()
      fail(`it answered ${response.statusCode}`)
    })
    request.once('response', (response) => {
      response.resume()
      fail(`it answered ${response.statusCode}`)
    })
    request.once('error', (error) => fail(error.message, error))
    request.end()
  })
}
