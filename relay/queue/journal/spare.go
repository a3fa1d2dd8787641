package journal

import (
	"os"
	"path/filepath"
	"time"
)

// The spare is the file of a segment to come, as long as a full one: zeros, or
// what a dead segment held. Its blocks are on disk, so that a sync has no
// metadata to write with the octets.
const (
	spareName  = "spare"
	unfinished = ".new"  // behind the name of a file that is being made
	spareStep  = 1 << 20 // written and synced at once
	spareSpace = 16      // segments that must be free on the disk
)

func (l *Log) sparePath() string { return filepath.Join(l.logDir(), spareName) }

// findSpare looks for what an earlier run has left.
func (l *Log) findSpare() {
	half, _ := filepath.Glob(filepath.Join(l.logDir(), "*"+unfinished))
	for _, path := range half {
		os.Remove(path)
	}
	_, err := os.Stat(l.sparePath())
	l.spare = err == nil
}

// takeSpare gives the spare another name, so that nobody else has to do with it;
// "" means that there was none.
func (l *Log) takeSpare(path string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.spare || os.Rename(l.sparePath(), path) != nil {
		path = ""
	}
	l.spare = false
	return path
}

// setSpare makes a file the spare, or removes it if there is one by now.
func (l *Log) setSpare(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spare {
		return os.Remove(path)
	}
	err := os.Rename(path, l.sparePath())
	l.spare = err == nil
	return err
}

// keepSpare makes a spare of a dead segment's file, unless it is too short to be
// of use.
func (l *Log) keepSpare(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() < l.opt.Segment/2 {
		return os.Remove(path)
	}
	return l.setSpare(path)
}

// prepare makes a spare of zeros where there is none, at leisure unless somebody
// waits for it. Where mail piles up it does not, for that would write everything
// twice.
func (l *Log) prepare(leisure bool) {
	l.mu.Lock()
	want := l.opt.Spare && !l.spare && !l.closed && len(l.segs) <= 2
	l.mu.Unlock()
	if !want || freeSpace(l.opt.Dir) < spareSpace*l.opt.Segment {
		return
	}
	path := l.sparePath() + unfinished
	err := l.fillSpare(path, leisure)
	if err == nil {
		err = l.setSpare(path)
	}
	if err != nil {
		os.Remove(path)
		l.opt.Log.Debug().Err(err).Msg("no spare segment")
	}
}

// fillSpare writes zeros, at leisure with as long a pause behind each piece as it
// took.
func (l *Log) fillSpare(path string, leisure bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	zeros := make([]byte, min(spareStep, l.opt.Segment))
	for written := int64(0); written < l.opt.Segment; written += int64(len(zeros)) {
		start := time.Now()
		if err := l.opt.write(f, zeros); err != nil {
			return err
		}
		if !leisure {
			continue
		}
		if err := l.opt.sync(f); err != nil {
			return err
		}
		select {
		case <-l.quit:
			return ErrClosed
		case <-time.After(time.Since(start)):
		}
	}
	return l.opt.sync(f)
}
