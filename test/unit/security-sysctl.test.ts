import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { checkSysctls } from '../../src/security/sysctl.ts'

const ALL = ['network', 'ipc', 'uts'] as const

describe('sysctls of a container', () => {
  it('become paths below /proc/sys', () => {
    expect(checkSysctls({ 'net.ipv4.ip_forward': '1', 'kernel.shmmax': '65536' }, ALL)).toEqual([
      { key: 'net.ipv4.ip_forward', path: 'net/ipv4/ip_forward', value: '1' },
      { key: 'kernel.shmmax', path: 'kernel/shmmax', value: '65536' },
    ])
  })

  it('point at files this kernel has', () => {
    for (const { path } of checkSysctls(
      { 'net.ipv4.ip_forward': '1', 'kernel.sem': '1', 'fs.mqueue.msg_max': '10' },
      ALL,
    )) {
      expect(existsSync(`/proc/sys/${path}`), path).toBe(true)
    }
  })

  it('may name an interface with a dot, in either notation of sysctl(8)', () => {
    const path = 'net/ipv4/conf/eth0.1/forwarding'
    expect(checkSysctls({ 'net.ipv4.conf.eth0/1.forwarding': '1' }, ALL)[0]?.path).toBe(path)
    expect(checkSysctls({ 'net/ipv4/conf/eth0.1/forwarding': '1' }, ALL)[0]?.path).toBe(path)
  })

  it("are refused where the namespace is the host's", () => {
    expect(() => checkSysctls({ 'net.ipv4.ip_forward': '1' }, ['ipc', 'uts'])).toThrow('whose network namespace')
    expect(() => checkSysctls({ 'kernel.shmmax': '1' }, ['network', 'uts'])).toThrow('whose ipc namespace')
    expect(() => checkSysctls({ 'kernel.domainname': 'x' }, ['network', 'ipc'])).toThrow('whose uts namespace')
  })

  it.each([
    'kernel.core_pattern',
    'vm.swappiness',
    'kernel.shmmax2',
    'fs.mqueue',
    'fs.file-max',
    'user.max_user_namespaces',
  ])('are refused if the kernel keeps no copy a namespace: %s', (key) => {
    expect(() => checkSysctls({ [key]: '1' }, ALL)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }))
  })

  it.each([
    'net',
    '',
    'net/../kernel/core_pattern',
    'net/./ipv4',
    'net..ipv4',
    '/net/ipv4',
    'net.ipv4.a b',
    'net/ipv4\0',
    'net.ipv4.\n',
  ])('are refused if the name could reach another file: %j', (key) => {
    expect(() => checkSysctls({ [key]: '1' }, ALL)).toThrow('not the name of a kernel setting')
  })

  it('cannot smuggle a second setting in (CVE-2022-0811)', () => {
    expect(() => checkSysctls({ 'kernel.shm_rmid_forced+kernel.core_pattern': '1' }, ALL)).toThrow('not the name')
    expect(() => checkSysctls({ 'kernel.shm_rmid_forced': '1\nkernel.core_pattern=|/x' }, ALL)).toThrow('single line')
    expect(checkSysctls({ 'kernel.shm_rmid_forced': '1+kernel.core_pattern=|/x' }, ALL)).toHaveLength(1)
  })

  it('suggest the setting that was meant', () => {
    expect(() => checkSysctls({ 'kernel.shmmx': '1' }, ALL)).toThrow(
      expect.objectContaining({ hint: 'did you mean kernel.shmmax' }),
    )
  })
})
