import * as http from 'node:http'
import * as https from 'node:https'
import type { Socket } from 'node:net'
import * as tls from 'node:tls'
import { TscrunError } from '../model/errors.ts'
import type { Environment } from './environment.ts'
import { isLoopback } from './hosts.ts'

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

/** An agent whose connections are tunnels through a proxy (CONNECT, RFC 9110 9.3.6). */
export function proxyAgent(proxy: URL, isTls: boolean, options: https.AgentOptions): http.Agent {
  const agent = isTls ? new https.Agent(options) : new http.Agent(options)
  const connect = (target: tls.ConnectionOptions, done: (error: Error | null, socket?: Socket) => void): undefined => {
    openTunnel(proxy, `${target.host}:${target.port}`).then(
      (socket) => {
        if (!isTls) return done(null, socket)
        done(null, tls.connect({ ...options, ...target, socket, servername: target.servername ?? target.host ?? '' }))
      },
      (error: unknown) => done(error as Error),
    )
    return undefined
  }
  // Agents ask this of themselves; the types do not list it.
  Object.assign(agent, { createConnection: connect })
  return agent
}

function openTunnel(proxy: URL, target: string): Promise<Socket> {
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  const request = (proxy.protocol === 'https:' ? https : http).request({
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
    method: 'CONNECT',
    path: target,
    agent: false,
    headers: {
      host: target,
      ...(proxy.username === ''
        ? {}
        : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }),
    },
  })
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown): void =>
      reject(
        new TscrunError('NETWORK', `connect ${target} through the proxy ${proxy.host}: ${reason}`, {
          subject: proxy.host,
          cause,
        }),
      )
    request.setTimeout(30_000, () => request.destroy(new Error('no answer for 30 s')))
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
