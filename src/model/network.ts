/** `networks/<name>.json` of the store: a network that containers can be connected to. */
export interface NetworkDefinition {
  /** Format of this file; N reads N-1. */
  readonly version: 1
  readonly name: string
  /** 64 hexadecimal digits. */
  readonly id: string
  readonly driver: NetworkDriver
  /** The host's link: the bridge that is made for it, or the existing one that macvlan and ipvlan are made on. */
  readonly link: string
  /** At most one of each family. */
  readonly subnets: readonly NetworkSubnet[]
  /** No way out of it, and none in. */
  readonly internal: boolean
  readonly labels: Readonly<Record<string, string>>
  /** Bytes; absent for that of the host's way out. */
  readonly mtu?: number
  readonly createdMs: number
}

/** `none` has no links: its containers have lo alone, under a name of one's own. */
export type NetworkDriver = 'bridge' | 'macvlan' | 'ipvlan' | 'none'

export interface NetworkSubnet {
  /** `10.88.0.0/16` */
  readonly subnet: string
  /** An address in it: the bridge's own, or of whoever routes for macvlan and ipvlan. */
  readonly gateway?: string
}

/** Bits a second, at most; absent: as fast as it goes. */
export interface NetworkRate {
  /** To the container. */
  readonly in?: number
  /** From it. */
  readonly out?: number
}

/** What a container asks of one network. */
export interface NetworkRequest {
  readonly name: string
  readonly ip?: string
  readonly ip6?: string
  /** `0a:1b:2c:3d:4e:5f` */
  readonly mac?: string
  /** Names by which other containers of the network find it, beside its own. */
  readonly aliases?: readonly string[]
  readonly rate?: NetworkRate
}

/** What a container has of one network, from its making to its removal. */
export interface NetworkConnection {
  readonly network: string
  /** Id of the network, since another may have its name one day. */
  readonly networkId: string
  /** Name of the link in the container. */
  readonly link: string
  readonly mac: string
  readonly ip?: string
  readonly ip6?: string
  /** Address of the host in it, where it is the host that has the gateway's. */
  readonly gateway?: string
  readonly aliases: readonly string[]
  readonly rate?: NetworkRate
}
