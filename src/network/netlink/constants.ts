/** rtnetlink(7), linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h. */
export const RTM = { NEWLINK: 16, DELLINK: 17, GETLINK: 18, NEWADDR: 20, NEWROUTE: 24 } as const
export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  NET_NS_FD: 28,
} as const
export const INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const
export const IFLA_BRPORT_MODE = 4
export const VETH_INFO_PEER = 1
export const MACVLAN_MODE = 1
export const IPVLAN_MODE = 1
export const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const
export const RTA = { DST: 1, OIF: 4, GATEWAY: 5 } as const
export const AF = { 4: 2, 6: 10 } as const
export const IFF_UP = 1
/** No search for a duplicate: nobody else gives out addresses of this subnet, and it would take a second. */
export const IFA_F_NODAD = 2
export const IFA_F_PERMANENT = 0x80
export const RT = { TABLE_MAIN: 254, PROT_STATIC: 4, SCOPE_UNIVERSE: 0, UNICAST: 1 } as const
