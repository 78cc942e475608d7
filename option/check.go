package option

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"viaduct/amount"
)

// Check looks for what is wrong with a section, which it points to: what breaks its
// tags, and what the form says. The error is Problems.
func Check(section any, form Form) error {
	return newReport("", form).check(reflect.ValueOf(section).Elem())
}

// check does so when all is read.
func (r *Report) check(section reflect.Value) error {
	r.checking = true
	walk(section, "", r.bounds)
	if r.form.Check != nil {
		r.form.Check(r)
	}
	return r.error()
}

// bounds checks an option against its tags.
func (r *Report) bounds(f field, v reflect.Value, path string) {
	said := func(text string) { r.Say(path, f.written(v), text) }
	switch x := v.Interface().(type) {
	case time.Duration:
		switch {
		case f.least == "" && x <= 0:
			said("every wait is bounded; give a time above zero, such as " + f.instance())
		case x < 0:
			said("give a time of zero or more, such as " + f.instance())
		}
	case Size:
		least, _ := amount.ParseSize(f.least)
		most, _ := amount.ParseSize(f.most)
		if _, written := r.places[path]; (x < least || x > most) && (x != 0 || written || f.preset != "") {
			said(f.sizes())
		}
	case int:
		if x < 0 || x > math.MaxInt32 {
			said("write a number from 0 to 2147483647")
		}
	case float64:
		if !f.within(x) {
			said(f.numbers())
		}
	case string:
		if last := len(f.oneof) - 1; last > 0 && !slices.Contains(f.oneof, x) {
			said("choose " + strings.Join(f.oneof[:last], ", ") + " or " + f.oneof[last])
		}
	case []string:
		if x != nil && len(x) < f.fewest() {
			r.Say(path, "", "no value: write at least one, or take "+f.key+" out")
		}
	}
}
