import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { TscrunError } from '../../src/model/errors.ts'
import {
  addAndDrop,
  CAPABILITIES,
  capabilityMask,
  capabilityNumber,
  DEFAULT_CAPABILITIES,
  parseCapability,
} from '../../src/security/capabilities.ts'

describe('capabilities', () => {
  it('have the numbers of the kernel headers', () => {
    const header = readFileSync('/usr/include/linux/capability.h', 'utf8')
    const defined = [...header.matchAll(/^#define (CAP_[A-Z_]+)\s+(\d+)$/gm)].map((match) => [
      match[1],
      Number(match[2]),
    ])
    expect(defined.length).toBe(41)
    expect(CAPABILITIES.map((name, number) => [name, number])).toEqual(
      defined.sort((a, b) => Number(a[1]) - Number(b[1])),
    )
  })

  it('as a default make the mask that docker containers show', () => {
    expect(capabilityMask(DEFAULT_CAPABILITIES)).toBe(0xa80425fbn)
    expect(capabilityMask(CAPABILITIES)).toBe(0x1ffffffffffn)
  })

  it('have as many members as the running kernel knows, or more', () => {
    expect(CAPABILITIES.length).toBeGreaterThanOrEqual(
      Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8')) + 1,
    )
  })

  it.each([['NET_ADMIN'], ['net_admin'], ['cap_net_admin'], ['CAP_NET_ADMIN'], [' Net_Admin ']])(
    'are read from %j',
    (text) => {
      expect(parseCapability(text)).toBe('CAP_NET_ADMIN')
    },
  )

  it('are read from ALL in any case', () => {
    expect(parseCapability('all')).toBe('ALL')
  })

  it('that do not exist are refused with the nearest name', () => {
    const attempt = () => parseCapability('NET_ADMN')
    expect(attempt).toThrow(TscrunError)
    expect(attempt).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG', hint: 'did you mean NET_ADMIN' }))
    expect(() => capabilityNumber('CAP_XYZZY')).toThrow(expect.objectContaining({ hint: 'capabilities(7) lists them' }))
    expect(() => parseCapability('CAP_ALL')).toThrow('no such capability')
    expect(() => parseCapability('__proto__')).toThrow('no such capability')
  })
})

describe('adding and dropping capabilities', () => {
  const defaults = ['CAP_CHOWN', 'CAP_KILL']

  it('keeps the defaults when nothing is asked', () => {
    expect(addAndDrop(defaults, [], [])).toEqual(defaults)
  })

  it('adds and drops single ones in any notation, ordered by number', () => {
    expect(addAndDrop(defaults, ['sys_time', 'NET_RAW'], ['cap_kill'])).toEqual([
      'CAP_CHOWN',
      'CAP_NET_RAW',
      'CAP_SYS_TIME',
    ])
  })

  it('starts from nothing when ALL is dropped', () => {
    expect(addAndDrop(defaults, ['NET_BIND_SERVICE'], ['ALL'])).toEqual(['CAP_NET_BIND_SERVICE'])
    expect(addAndDrop(defaults, [], ['all'])).toEqual([])
  })

  it('grants everything but the dropped when ALL is added', () => {
    const all = addAndDrop(defaults, ['ALL'], ['SYS_ADMIN'])
    expect(all).toHaveLength(40)
    expect(all).not.toContain('CAP_SYS_ADMIN')
  })

  it('refuses to add and drop the same', () => {
    expect(() => addAndDrop(defaults, ['ALL'], ['ALL'])).toThrow('capability ALL: both added and dropped')
    expect(() => addAndDrop(defaults, ['KILL'], ['cap_kill'])).toThrow('CAP_KILL: both added and dropped')
  })

  it('makes masks that capsh reads back', () => {
    const names = ['CAP_NET_RAW', 'CAP_SYS_CHROOT', 'CAP_CHECKPOINT_RESTORE']
    const decoded = execFileSync('capsh', [`--decode=${capabilityMask(names).toString(16)}`], { encoding: 'utf8' })
    expect(decoded.trim().split('=')[1]).toBe('cap_net_raw,cap_sys_chroot,cap_checkpoint_restore')
  })
})
