package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// cacheMagic is the beginning of a cache file.
const cacheMagic = "hoplite cache 1\n"

// Limits on a cache.
const (
	maxItem  = 4 << 20
	cacheBuf = 256 << 10 // buffer size for writing
)

// Cache holds one blob for each message in a folder. It is read into memory
// completely when it is opened.
type Cache struct {
	place *Place // nil for a cache in memory only
	items map[uint32][]byte
	size  int64  // size of the file
	dead  int64  // octets of replaced or expunged blobs
	wait  []byte // not yet written
}

// NewCache returns a cache that is kept in memory only.
func NewCache() *Cache { return &Cache{items: map[uint32][]byte{}} }

// OpenCache opens the cache at p. A cache for another UIDVALIDITY is cleared.
// keep reports whether a message still exists.
func OpenCache(p Place, validity uint32, keep func(uid uint32) bool) (*Cache, error) {
	c := &Cache{place: &p, items: map[uint32][]byte{}}
	err := c.with(os.O_CREATE, func(file *os.File) error { return c.read(file, validity, keep) })
	if err != nil {
		return nil, fmt.Errorf("read cache: %w", err)
	}
	return c, nil
}

// with calls do with the file, which is open only during the call.
func (c *Cache) with(flags int, do func(*os.File) error) error {
	file, err := c.place.open("cache", flags)
	if err != nil {
		return err
	}
	return errors.Join(do(file), file.Close())
}

func cacheHead(validity uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte(cacheMagic), validity)
}

func (c *Cache) read(file *os.File, validity uint32, keep func(uint32) bool) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	text := make([]byte, min(st.Size(), maxBatch))
	if _, err := file.ReadAt(text, 0); err != nil {
		return err
	}
	head := cacheHead(validity)
	if len(text) < len(head) || string(text[:len(head)]) != string(head) {
		return c.reset(file, validity)
	}
	rest := text[len(head):]
	for len(rest) > 0 {
		payload, after, err := cutFrame(rest)
		if err != nil || len(payload) < 4 {
			break
		}
		c.keep(binary.LittleEndian.Uint32(payload), payload[4:len(payload):len(payload)])
		rest = after
	}
	c.size = int64(len(text) - len(rest))
	for uid, item := range c.items {
		if !keep(uid) {
			c.dead += int64(12 + len(item))
			delete(c.items, uid)
		}
	}
	if c.dead > c.size/2 && c.dead > 64<<10 {
		return c.rewrite(file, validity)
	}
	return file.Truncate(c.size)
}

func (c *Cache) reset(file *os.File, validity uint32) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	head := cacheHead(validity)
	_, err := file.WriteAt(head, 0)
	c.size, c.dead = int64(len(head)), 0
	return err
}

// rewrite overwrites the file with the live blobs. A crash during rewrite loses
// only cached items.
func (c *Cache) rewrite(file *os.File, validity uint32) error {
	if err := c.reset(file, validity); err != nil {
		return err
	}
	for uid, item := range c.items {
		c.later(uid, item)
		if len(c.wait) >= cacheBuf {
			if err := c.flush(file); err != nil {
				return err
			}
		}
	}
	return c.flush(file)
}

// keep stores a blob in memory.
func (c *Cache) keep(uid uint32, item []byte) {
	if old, ok := c.items[uid]; ok {
		c.dead += int64(12 + len(old))
	}
	c.items[uid] = item
}

// Get returns a message's blob, or nil. The caller must not modify it.
func (c *Cache) Get(uid uint32) []byte { return c.items[uid] }

// Put stores a blob. It is written to the file later; see Flush.
func (c *Cache) Put(uid uint32, item []byte) error {
	if len(item) > maxItem {
		return nil
	}
	c.keep(uid, item)
	if c.place == nil {
		return nil
	}
	if c.later(uid, item); len(c.wait) < cacheBuf {
		return nil
	}
	return c.Flush()
}

// later buffers a blob to be written.
func (c *Cache) later(uid uint32, item []byte) {
	c.wait = appendFrame(c.wait, binary.LittleEndian.AppendUint32(nil, uid), item)
}

// Drop removes the blob of an expunged message.
func (c *Cache) Drop(uid uint32) {
	if item, ok := c.items[uid]; ok {
		c.dead += int64(12 + len(item))
		delete(c.items, uid)
	}
}

// Flush writes buffered blobs to the file.
func (c *Cache) Flush() error {
	if len(c.wait) == 0 {
		return nil
	}
	return c.with(0, c.flush)
}

func (c *Cache) flush(file *os.File) error {
	n, err := file.WriteAt(c.wait, c.size)
	c.wait = c.wait[:0]
	if err != nil {
		return fmt.Errorf("write cache: %w", errors.Join(err, file.Truncate(c.size)))
	}
	c.size += int64(n)
	return nil
}

// Close flushes the cache.
func (c *Cache) Close() error { return c.Flush() }
