/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * counters.c - see counters.h.
 */
#include "udaxctl/counters.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "udaxctl.h"

int counters_read(const struct target *target, struct counters *ret)
{
	uint32_t first = 0;

	ret->npages = 0;
	while (ret->npages < sizeof(ret->pages) / sizeof(ret->pages[0])) {
		struct udax_ioc_stat *page = &ret->pages[ret->npages++];

		memset(page, 0, sizeof(*page));
		page->version = UDAX_IOC_VERSION;
		page->first = first;
		if (ioctl(target->fd, UDAX_IOC_STAT, page))
			return ctl_refused(target->path, "reading counters", errno);
		first += page->count;
		if (!page->count || first >= page->total)
			break;
	}
	return CTL_OK;
}

uint64_t counters_get(const struct counters *counters, const char *name)
{
	for (unsigned p = 0; p < counters->npages; p++)
		for (unsigned i = 0; i < counters->pages[p].count; i++)
			if (strcmp(counters->pages[p].entries[i].name, name) == 0)
				return counters->pages[p].entries[i].value;
	return 0;
}
