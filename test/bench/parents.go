package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// leastShare is what each of the parents must get of the requests: a proxy that
// leaves one out does not do the work.
const leastShare = 0.05

// spread runs a measurement, and takes note of how the requests went to the
// parents meanwhile.
func (b *bench) spread(measure func() error, s *sample) error {
	before, err := asked(b.origins[0])
	if err != nil {
		return err
	}
	if err := measure(); err != nil {
		return err
	}
	after, err := asked(b.origins[0])
	if err != nil {
		return err
	}
	for i := range after {
		s.Parents = append(s.Parents, after[i]-before[i])
	}
	return checkSpread(s.Parents)
}

func checkSpread(parents []int64) error {
	if float64(slices.Min(parents)) < leastShare*float64(sum(parents)) {
		return fmt.Errorf("requests were not spread over all parents: %v", parents)
	}
	return nil
}

func sum(list []int64) (n int64) {
	for _, v := range list {
		n += v
	}
	return n
}

// asked is how many requests each parent has got, by the origin at a port.
func asked(port int) (list []int64, err error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := c.Get("http://127.0.0.1:" + strconv.Itoa(port) + "/asked")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	err = json.NewDecoder(res.Body).Decode(&list)
	return list, err
}

// shares shows how requests were spread, in percent; nothing where it was not
// looked at.
func shares(parents []int64) string {
	if len(parents) == 0 {
		return ""
	}
	var parts []string
	for _, n := range parents {
		parts = append(parts, strconv.Itoa(int(100*n/max(1, sum(parents)))))
	}
	return "parents " + strings.Join(parts, "/") + "%"
}
