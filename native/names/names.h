/*
 * The name service: one process for all networks of a run directory. Each monitor whose container has such networks holds
 * a connection to it, which is the container's membership: when it ends, so do the container's names, and with the last
 * one the process. Nothing listens on the host: the sockets are in the containers' namespaces (../ops_names.c makes them).
 *
 * A message of a connection (SOCK_SEQPACKET) is NAMES_MAGIC; with it come a file, and with the first one the sockets: for
 * datagrams, for calls, and a raw one to answer datagrams by (where those do not come to port 53 themselves). The file is
 * text, a letter and a value in each line:
 *
 *   D            what it does not find is asked of the host's resolvers
 *   d ADDRESS    or of these
 *   n ID NAME    a network; what follows belongs to it
 *   a ADDRESS/N  an address of the container's there, and the length of the subnet's prefix
 *   h NAME       a name of the container's there, in small letters; the first is told for its address
 */
#ifndef TSCRUN_NAMES_H
#define TSCRUN_NAMES_H

#define NAMES_MAGIC 0x314e5354u /* "TSN1" */
#define NAMES_SOCKET "names.sock"
#define NAMES_LISTENER 3
/* Of such a file. */
#define NAMES_MAX_BYTES 65536
#define NAMES_MAX_FDS 4

/* Where containers find it: in their own namespace, on an address that nobody else uses. */
#define NAMES_ADDRESS 0x7f00000bu /* 127.0.0.11 */
#define NAMES_PORT 253		  /* nobody's either; port 53 of the address is led there */

#endif
