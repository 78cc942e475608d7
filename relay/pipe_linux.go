package relay

import (
	"math"
	"sync"
	"syscall"
	"time"
)

const (
	sustained  = 2         // full pieces in a row that make a flow worth a pipe
	smallest   = 8 << 10   // spliced pieces below this are small
	fewSmall   = 8         // so many in a row make a flow not worth one
	pipeSize   = 1 << 20   // what a pipe is asked to hold
	pipeLeast  = 256 << 10 // the least that is worth having
	mostPipes  = 64        // in use and spare
	sparePipes = 16        // as many at most, and
	keptPipes  = 2         // as many though no flow is sustained, are kept for the next
	noPipe     = 64        // full pieces to be copied when there was no pipe
	ever       = math.MaxInt32

	slow = 200 * time.Millisecond // a dst that needs so long for a piece is slow

	fSetPipeSz  = 1031 // F_SETPIPE_SZ and SPLICE_F_NONBLOCK, absent from package syscall
	nonblocking = 2
)

// adapt chooses how to move the next piece, by the size of those before. Up to
// some KiB the three calls of either way cost the same, and a buffer is the
// cheaper thing to hold.
func (f *flow) adapt(n int) {
	switch {
	case !f.splicing && n == piece:
		if f.streak++; f.streak >= sustained && f.out != nil {
			f.splicing, f.streak = true, 0
			pipes.flowed(1)
		}
	case !f.splicing:
		f.streak = min(f.streak, 0)
	case n >= smallest:
		f.streak = 0
	default:
		if f.streak++; f.streak >= fewSmall {
			f.copyFor(0)
		}
	}
}

// copyFor ends splicing, for at least that many full pieces.
func (f *flow) copyFor(n int32) {
	if f.splicing {
		pipes.flowed(-1)
	}
	f.splicing, f.streak = false, -n
}

// handOver delivers the piece in hand. Pipes are few, and a slow dst would keep
// one for long: what is slow again and again is copied, which is cheap as there
// is little of it.
func (f *flow) handOver() bool {
	if f.pipe == nil {
		return f.deliver()
	}
	from := time.Now()
	ok := f.deliver()
	if time.Since(from) < slow {
		f.slowness = 0
		return ok
	}
	f.copyFor(noPipe << (3 * f.slowness))
	f.slowness = min(f.slowness+1, 3)
	return ok
}

// pickPipe takes a pipe. Where there is none, because descriptors or the
// memory a user may have in pipes have run out, the flow goes on by copying.
func (f *flow) pickPipe() bool {
	if f.pipe != nil {
		return true
	}
	f.putDown()
	if f.pipe = pipes.take(); f.pipe == nil {
		f.copyFor(noPipe)
	}
	return f.pipe != nil
}

func (f *flow) putPipe() {
	if f.pipe != nil {
		pipes.put(f.pipe)
		f.pipe = nil
	}
}

// pipe is memory of the kernel that bytes pass through without being copied.
type pipe struct{ r, w, size, held int }

// unfit is true if the sockets or the kernel don't do splice; no byte was lost.
func unfit(err error) bool {
	return err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EPERM
}

func (p *pipe) fill(fd, most int) (int, error) {
	n, err := syscall.Splice(fd, nil, p.w, nil, most, nonblocking)
	if n > 0 {
		p.held = int(n)
	}
	return int(n), err
}

func (p *pipe) drain(fd int) (int, error) {
	n, err := syscall.Splice(p.r, nil, fd, nil, p.held, nonblocking)
	if n > 0 {
		p.held -= int(n)
	}
	return int(n), err
}

// read takes bytes out again, where drain is refused.
func (p *pipe) read(buf []byte) ([]byte, error) {
	n, err := syscall.Read(p.r, buf)
	if err != nil {
		return nil, err
	}
	p.held -= n
	return buf[:n], nil
}

func (p *pipe) close() {
	_ = syscall.Close(p.r)
	_ = syscall.Close(p.w)
}

var pipes pipePool

// pipePool keeps pipes for the sustained flows, which may all want one at once.
// The bound is for unprivileged users, who may have 64 MiB in pipes: beyond
// that the kernel makes pipes of two pages, which are worse than copying.
type pipePool struct {
	sync.Mutex
	spare []*pipe
	open  int // in use and spare
	flows int // sustained
}

// flowed counts the flows that have become sustained or ceased to be.
func (p *pipePool) flowed(n int) {
	p.Lock()
	defer p.Unlock()
	p.flows += n
	for len(p.spare) > p.worthKeeping() {
		last := len(p.spare) - 1
		p.discard(p.spare[last])
		p.spare = p.spare[:last]
	}
}

func (p *pipePool) worthKeeping() int { return min(max(keptPipes, p.flows), sparePipes) }

func (p *pipePool) take() *pipe {
	p.Lock()
	defer p.Unlock()
	if last := len(p.spare) - 1; last >= 0 {
		taken := p.spare[last]
		p.spare = p.spare[:last]
		return taken
	}
	if p.open == mostPipes {
		return nil
	}
	made := makePipe()
	if made != nil {
		p.open++
	}
	return made
}

func (p *pipePool) put(given *pipe) {
	p.Lock()
	defer p.Unlock()
	if given.held > 0 || len(p.spare) >= p.worthKeeping() {
		p.discard(given)
		return
	}
	p.spare = append(p.spare, given)
}

func (p *pipePool) discard(d *pipe) {
	p.open--
	d.close()
}

// makePipe returns nil if there is no pipe to be had, or only a tiny one.
func makePipe() *pipe {
	var fds [2]int
	if syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK) != nil {
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	for p.size = pipeSize; p.size >= pipeLeast; p.size /= 2 {
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(p.w), fSetPipeSz, uintptr(p.size)); errno == 0 {
			return p
		}
	}
	p.close()
	return nil
}
