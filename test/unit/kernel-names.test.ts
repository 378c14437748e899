import { constants } from 'node:os'
import { describe, expect, it } from 'vitest'
import { errnoName, SIGKILL, signalName, signalNumber } from '../../src/model/kernel-names.ts'

describe('names of the kernel', () => {
  it('are those that Node knows, for errors', () => {
    for (const [name, number] of Object.entries(constants.errno)) {
      // Two names, one number: the one that man pages use is ours.
      const ours = { EWOULDBLOCK: 'EAGAIN', ENOTSUP: 'EOPNOTSUPP' }[name] ?? name
      expect(errnoName(number)).toBe(ours)
    }
  })

  it('are those that Node knows, for signals', () => {
    for (const [name, number] of Object.entries(constants.signals)) {
      const ours = { SIGIOT: 'SIGABRT', SIGPOLL: 'SIGIO' }[name] ?? name
      expect(signalName(number)).toBe(ours)
      expect(signalNumber(ours)).toBe(number)
    }
    expect(signalName(SIGKILL)).toBe('SIGKILL')
  })

  it('say the number where there is no name', () => {
    expect(errnoName(41)).toBe('errno 41')
    expect(errnoName(0)).toBe('errno 0')
    expect(errnoName(4095)).toBe('errno 4095')
    expect(signalName(40)).toBe('SIG40')
    expect(signalNumber('SIG40')).toBeUndefined()
    expect(signalNumber('TERM')).toBeUndefined()
  })
})
