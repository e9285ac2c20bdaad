/* From include/uapi/linux/rtc.h and include/linux/rtc.h. */
struct rtc_time {
	int tm_sec;
	int tm_min;
	int tm_hour;
	int tm_mday;
	int tm_mon;
	int tm_year;
	int tm_wday;
	int tm_yday;
	int tm_isdst;
};

typedef long long ktime_t;

ktime_t rtc_tm_to_ktime(struct rtc_time tm);
