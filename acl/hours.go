package acl

import (
	"strings"
	"time"
)

// hours are a value of time=: days of the week, and minutes of such a day. An
// end beyond the day lies on the next one.
type hours struct {
	days        uint8 // a bit each, Sunday's the lowest
	first, last int   // the last is not included
}

const (
	everyDay  = 1<<7 - 1
	wholeDay  = 24 * 60
	writeTime = "write days, hours or both: mon-fri, 09:00-17:00 or sat/22:00-06:00"
)

func (r *rule) readTime(v string) string {
	days, clock, both := strings.Cut(strings.ToLower(v), "/")
	if !both && strings.Contains(days, ":") {
		days, clock = "", days
	}
	h := hours{days: everyDay, last: wholeDay}
	ok := v != "" && both == (days != "" && clock != "")
	if days != "" {
		h.days, ok = readDays(days), ok && readDays(days) != 0
	}
	if clock != "" {
		from, to, _ := strings.Cut(clock, "-")
		h.first, h.last = readMinute(from), readMinute(to)
		ok = ok && h.first >= 0 && h.last >= 0 && h.first < wholeDay
	}
	switch {
	case !ok:
		return writeTime
	case h.first == h.last:
		return "ends when it begins: leave the hours out if the whole day is meant"
	case h.last < h.first:
		h.last += wholeDay
	}
	r.hours = append(r.hours, h)
	return ""
}

// readDays reads one day, or the first and the last of several; 0 is a mistake.
func readDays(s string) (days uint8) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	day, last := readDay(from), readDay(to)
	if day < 0 || last < 0 {
		return 0
	}
	for ; day != last; day = (day + 1) % 7 {
		days |= 1 << day
	}
	return days | 1<<last
}

func readDay(s string) int {
	const week = "sunmontuewedthufrisat"
	i := strings.Index(week, s)
	if len(s) != 3 || i%3 != 0 {
		return -1
	}
	return i / 3
}

// readMinute reads HH:MM up to 24:00; -1 is a mistake.
func readMinute(s string) int {
	if len(s) != len("00:00") || s[2] != ':' {
		return -1
	}
	digits := s[:2] + s[3:]
	if strings.Trim(digits, "0123456789") != "" {
		return -1
	}
	minute := int(s[3]-'0')*10 + int(s[4]-'0')
	m := (int(s[0]-'0')*10+int(s[1]-'0'))*60 + minute
	if minute > 59 || m > wholeDay {
		return -1
	}
	return m
}

// has says whether it is such a time. What lasts past midnight belongs to the
// day on which it began.
func (h hours) has(now time.Time) bool {
	hour, minute, _ := now.Clock()
	m, today := hour*60+minute, int(now.Weekday())
	yesterday := (today + 6) % 7
	return h.days>>today&1 != 0 && h.first <= m && m < h.last ||
		h.days>>yesterday&1 != 0 && m+wholeDay < h.last
}
