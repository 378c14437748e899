/* Whom the kernel ends where memory is short: not the monitor, on which restarts and the record of the end hang. */
#ifndef TSCRUN_OOM_H
#define TSCRUN_OOM_H

/* From now on others come first. Without CAP_SYS_RESOURCE all stays as it is. */
void oom_spare(void);

/* As whoever started the monitor: before a process is made that is not of the monitor's own. */
void oom_as_before(void);

#endif
