package rest

import (
	"slices"
	"strings"
	"time"
)

// What is here is called with the lock held.

// add makes a pair, whose name is its own: that of a request is in a buffer
// which will be another's.
func (t *Table[W]) add(to Destination, w W) *pair[W] {
	i := bucketOf(to)
	to.Host = strings.Clone(to.Host)
	p := &pair[W]{to: to, way: w}
	list := append(slices.Clip(t.bucket(i)), p)
	t.buckets[i].Store(&list)
	if i != everywhere {
		t.pairs++
		t.append(p)
	}
	return p
}

// drop takes a pair out.
func (t *Table[W]) drop(p *pair[W]) {
	i := bucketOf(p.to)
	var list []*pair[W]
	for _, o := range t.bucket(i) {
		if o != p {
			list = append(list, o)
		}
	}
	t.buckets[i].Store(&list)
	if i != everywhere {
		t.pairs--
		t.unlink(p)
	}
	if t.pairs == 0 && len(t.bucket(everywhere)) == 0 {
		t.over.Store(0)
	}
}

// forgetOld drops what is over for so long that it says nothing any more.
func (t *Table[W]) forgetOld(now time.Duration) {
	for t.oldest != nil && t.isForgotten(t.oldest, now) {
		t.drop(t.oldest)
	}
	for _, p := range t.bucket(everywhere) {
		if t.isForgotten(p, now) {
			t.drop(p)
		}
	}
}

func (t *Table[W]) isForgotten(p *pair[W], now time.Duration) bool {
	return now-time.Duration(p.until.Load()) >= t.most()
}

// renew makes a pair the newest.
func (t *Table[W]) renew(p *pair[W]) {
	if p != t.newest && p.to != (Destination{}) {
		t.unlink(p)
		t.append(p)
	}
}

func (t *Table[W]) append(p *pair[W]) {
	p.older, p.newer = t.newest, nil
	if t.newest == nil {
		t.oldest = p
	} else {
		t.newest.newer = p
	}
	t.newest = p
}

func (t *Table[W]) unlink(p *pair[W]) {
	if p.older == nil {
		t.oldest = p.newer
	} else {
		p.older.newer = p.newer
	}
	if p.newer == nil {
		t.newest = p.older
	} else {
		p.newer.older = p.older
	}
}
