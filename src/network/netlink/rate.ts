import { encodeMessage, NLM_F, text, u32, type Message } from './message.ts'

/** linux/rtnetlink.h, linux/pkt_sched.h. */
const RTM_NEWQDISC = 36
const TCA = { KIND: 1, OPTIONS: 2 } as const
const TCA_TBF = { PARMS: 1, RATE64: 4, BURST: 6 } as const
const TC_H_ROOT = 0xffff_ffff
const TC_LINKLAYER_ETHERNET = 1

const NETLINK_HEADER = 16
/** struct tcmsg: the link's number. */
const INDEX_AT = 4

/** At least two of the largest packets that a link is given at once. */
const LEAST_BURST = 128 << 10
const BURST_S = 0.01
const QUEUE_S = 0.05

/**
 * A token bucket (tc-tbf(8)) as a link's root: what leaves by it is held to a rate; what does not fit into its queue, 50 ms
 * long, is dropped.
 *
 * @param index of the link; undefined: put in at run time (mark: master)
 * @param rate bits a second
 */
export function newTokenBucket(index: number | undefined, rate: number): Message {
  const header = new Uint8Array(20)
  const view = new DataView(header.buffer)
  view.setInt32(INDEX_AT, index ?? 0, true)
  view.setUint32(12, TC_H_ROOT, true)
  const bytes = Math.ceil(rate / 8)
  const burst = Math.max(LEAST_BURST, Math.ceil(bytes * BURST_S))
  // struct tc_tbf_qopt: two struct tc_ratespec of 12 bytes, limit, buffer, mtu.
  const parameters = new Uint8Array(36)
  const qopt = new DataView(parameters.buffer)
  qopt.setUint8(1, TC_LINKLAYER_ETHERNET)
  qopt.setUint32(8, Math.min(bytes, 0xffff_ffff), true)
  qopt.setUint32(24, Math.min(burst + Math.ceil(bytes * QUEUE_S), 0xffff_ffff), true)
  const rate64 = new Uint8Array(8)
  new DataView(rate64.buffer).setBigUint64(0, BigInt(bytes), true)
  const attributes = [
    [TCA_TBF.PARMS, parameters],
    [TCA_TBF.RATE64, rate64],
    [TCA_TBF.BURST, u32(burst)],
  ] as const
  const message = encodeMessage(RTM_NEWQDISC, NLM_F.CREATE | NLM_F.EXCL, {
    header,
    attributes: [
      [TCA.KIND, text('tbf')],
      [TCA.OPTIONS, { attributes }],
    ],
  })
  return index === undefined ? { ...message, marks: new Map([['master', NETLINK_HEADER + INDEX_AT]]) } : message
}
