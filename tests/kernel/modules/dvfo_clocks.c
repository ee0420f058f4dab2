// SPDX-License-Identifier: GPL-2.0
/*
 * A GPU and a memory controller whose clocks devfreq drives, named as on a Jetson TX2.
 *
 * Hardware misbehaves on request, by files in debugfs, dvfo/<device>/:
 *   refuse    Y: a new clock is accepted and nothing happens, as some firmware does
 *   delay_ms  a new clock takes effect so much later
 *   cap_hz    no clock above this one, whatever was asked for; 0: no such cap
 */
#include <linux/debugfs.h>
#include <linux/devfreq.h>
#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pm_opp.h>

static const unsigned long gpu_hz[] = {
	114750000, 216750000, 318750000, 420750000,  522750000,  624750000,  726750000,
	854250000, 930750000, 1032750000, 1122000000, 1236750000, 1300500000,
};

static const unsigned long emc_hz[] = {
	204000000,  408000000,  665600000,  800000000,
	1062400000, 1331200000, 1600000000, 1866000000,
};

struct dvfo_clock {
	const char *name;
	const unsigned long *table_hz;
	unsigned int table_size;
	struct platform_device *device;
	struct devfreq *devfreq;
	struct devfreq_dev_profile profile;
	unsigned long old_hz;	/* in force until `due` */
	unsigned long new_hz;	/* in force from then on */
	ktime_t due;
	bool refuse;
	u32 delay_ms;
	unsigned long cap_hz;
};

static struct dvfo_clock clocks[] = {
	{ .name = "17000000.gpu", .table_hz = gpu_hz, .table_size = ARRAY_SIZE(gpu_hz) },
	{ .name = "31b0000.emc", .table_hz = emc_hz, .table_size = ARRAY_SIZE(emc_hz) },
};

static struct dentry *debugfs;

/* The highest operating point that the hardware's own cap leaves. */
static unsigned long below_cap(const struct dvfo_clock *clock, unsigned long hz)
{
	unsigned int i = clock->table_size - 1;
	unsigned long cap_hz = READ_ONCE(clock->cap_hz);

	if (!cap_hz || hz <= cap_hz)
		return hz;
	while (i > 0 && clock->table_hz[i] > cap_hz)
		i--;
	return clock->table_hz[i];
}

static int clock_get(struct device *dev, unsigned long *hz)
{
	const struct dvfo_clock *clock = dev_get_drvdata(dev);
	bool due = ktime_compare(ktime_get(), clock->due) >= 0;

	*hz = below_cap(clock, due ? clock->new_hz : clock->old_hz);
	return 0;
}

static int clock_set(struct device *dev, unsigned long *hz, u32 flags)
{
	struct dvfo_clock *clock = dev_get_drvdata(dev);
	struct dev_pm_opp *opp = devfreq_recommended_opp(dev, hz, flags);
	unsigned long now_hz;

	if (IS_ERR(opp))
		return PTR_ERR(opp);
	dev_pm_opp_put(opp);
	if (READ_ONCE(clock->refuse))
		return 0;
	clock_get(dev, &now_hz);
	clock->old_hz = now_hz;
	clock->new_hz = *hz;
	clock->due = ktime_add_ms(ktime_get(), READ_ONCE(clock->delay_ms));
	return 0;
}

/* Always half busy: simple_ondemand has something to follow. */
static int clock_status(struct device *dev, struct devfreq_dev_status *status)
{
	status->total_time = 100;
	status->busy_time = 50;
	return clock_get(dev, &status->current_frequency);
}

static void remove_clock(struct dvfo_clock *clock)
{
	if (clock->devfreq)
		devfreq_remove_device(clock->devfreq);
	dev_pm_opp_remove_all_dynamic(&clock->device->dev);
	platform_device_unregister(clock->device);
}

static int add_clock(struct dvfo_clock *clock)
{
	struct dentry *folder;
	struct device *dev;
	unsigned int i;
	int err;

	clock->device = platform_device_register_simple(clock->name, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(clock->device))
		return PTR_ERR(clock->device);
	dev = &clock->device->dev;
	dev_set_drvdata(dev, clock);
	for (i = 0; i < clock->table_size; i++) {
		err = dev_pm_opp_add(dev, clock->table_hz[i], 1000000);
		if (err)
			goto remove;
	}

	clock->new_hz = clock->old_hz = clock->table_hz[clock->table_size - 1];
	clock->profile = (struct devfreq_dev_profile){
		.initial_freq = clock->new_hz,
		.polling_ms = 50,
		.is_cooling_device = true,
		.target = clock_set,
		.get_cur_freq = clock_get,
		.get_dev_status = clock_status,
	};
	clock->devfreq = devfreq_add_device(dev, &clock->profile, DEVFREQ_GOV_PERFORMANCE, NULL);
	if (IS_ERR(clock->devfreq)) {
		err = PTR_ERR(clock->devfreq);
		clock->devfreq = NULL;
		goto remove;
	}

	folder = debugfs_create_dir(clock->name, debugfs);
	debugfs_create_bool("refuse", 0644, folder, &clock->refuse);
	debugfs_create_u32("delay_ms", 0644, folder, &clock->delay_ms);
	debugfs_create_ulong("cap_hz", 0644, folder, &clock->cap_hz);
	return 0;

remove:
	remove_clock(clock);
	return err;
}

static int __init dvfo_clocks_init(void)
{
	unsigned int i;
	int err;

	debugfs = debugfs_create_dir("dvfo", NULL);
	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		err = add_clock(&clocks[i]);
		if (err)
			goto remove;
	}
	return 0;

remove:
	while (i--)
		remove_clock(&clocks[i]);
	debugfs_remove(debugfs);
	return err;
}
module_init(dvfo_clocks_init);

static void __exit dvfo_clocks_exit(void)
{
	unsigned int i;

	debugfs_remove(debugfs);
	for (i = 0; i < ARRAY_SIZE(clocks); i++)
		remove_clock(&clocks[i]);
}
module_exit(dvfo_clocks_exit);

MODULE_SOFTDEP("pre: governor_performance governor_userspace");
MODULE_DESCRIPTION("GPU and memory clocks under devfreq, for tests");
MODULE_LICENSE("GPL");
