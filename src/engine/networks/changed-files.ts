import { closeSync, ftruncateSync, readFileSync, writeSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { LaunchSpec } from '../../model/launch.ts'
import { NAME_SERVER } from '../../network/names.ts'
import { FILE, openFileSteps, type Running } from '../../plan/network-change.ts'
import { makeByStage } from '../../runtime/run-steps.ts'
import { readIfThere } from '../../runtime/host.ts'
import { changedHosts, type HostsChange, resolvConf } from '../../spec/network-files.ts'
import type { ContainerRecord } from '../state/record.ts'
import type { ConnectionChange } from './change.ts'
import { hasNames } from './has-names.ts'

type Edit = (content: string) => string

/** What a change of networks is for /etc/hosts and /etc/resolv.conf: what the container has written there stays. */
function edits(record: ContainerRecord, { come, gone }: ConnectionChange): Readonly<Record<string, Edit>> {
  const addresses = (list: ConnectionChange['come']): string[] =>
    list.flatMap(({ ip, ip6 }) => [ip, ip6].filter((address) => address !== undefined))
  const names = [...new Set([record.config.hostname ?? record.name, record.name])]
  const named = (record.connections ?? []).some(hasNames)
  return {
    '/etc/hosts': (content) =>
      changedHosts(content, names, { gone: addresses(gone), come: addresses(come), ...movedHost(record, gone) }),
    '/etc/resolv.conf': (content) =>
      named === content.includes(NAME_SERVER) ? content : resolver(content, record, named),
  }
}

/** The host is found on another network; where there is none, its names stay as they are. */
function movedHost({ connections = [] }: ContainerRecord, gone: ConnectionChange['gone']): Pick<HostsChange, 'moved'> {
  const from = gone.flatMap(({ gateway }) => gateway ?? []).at(0)
  const to = connections.flatMap(({ gateway }) => gateway ?? []).at(0)
  return from === undefined || to === undefined ? {} : { moved: [from, to] }
}

/** It begins to ask the name service, or no longer does. */
function resolver(content: string, { resolvers }: ContainerRecord, named: boolean): string {
  const values = (key: string): string[] =>
    content.split('\n').flatMap((line) => (line.startsWith(`${key} `) ? line.split(/\s+/).slice(1) : []))
  const servers = named ? [NAME_SERVER] : resolvers
  const settings = values('options').filter((setting) => setting !== 'ndots:0')
  const kept = { search: values('search'), options: settings, ...(servers === undefined ? {} : { servers }) }
  return resolvConf(readIfThere('/etc/resolv.conf') ?? '', kept, true, named)
}

/** For its further lives. */
export function withChangedFiles(record: ContainerRecord, change: ConnectionChange): ContainerRecord {
  if (record.launch === undefined) return record
  const editOf = edits(record, change)
  const files: LaunchSpec['files'] = record.launch.files.map((file) => {
    const edit = editOf[file.target]
    return edit === undefined ? file : { ...file, content: edit(file.content) }
  })
  return { ...record, launch: { ...record.launch, files } }
}

/** In the container that runs. A file that a volume has taken the place of is the user's. */
export function changeFiles(running: Running, record: ContainerRecord, change: ConnectionChange): void {
  const editOf = edits(record, change)
  for (const { target } of record.launch?.files ?? []) {
    const edit = editOf[target]
    if (edit !== undefined) editFile(running, target, edit)
  }
}

function editFile(running: Running, target: string, edit: Edit): void {
  const fd = openIfThere(running, target)
  if (fd === undefined) return
  try {
    const before = readFileSync(fd, 'utf8')
    const after = edit(before)
    if (after === before) return
    ftruncateSync(fd)
    writeSync(fd, after, 0)
  } finally {
    closeSync(fd)
  }
}

/** Undefined where the container has taken it away, or made a link of it. */
function openIfThere(running: Running, target: string): number | undefined {
  try {
    return makeByStage(openFileSteps(running, target), FILE, `tscrun: ${running.name}`)
  } catch (error) {
    if (error instanceof TscrunError && ['ENOENT', 'ELOOP', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined
    throw error
  }
}
