package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// cacheMagic starts a cache file.
const cacheMagic = "hoplite cache 1\n"

// The limits of a cache.
const (
	maxItem  = 4 << 20
	cacheBuf = 256 << 10 // buffered before writing
)

// Cache holds one blob for each message of a folder. It is read into memory as
// a whole when it is opened.
type Cache struct {
	file  *os.File
	items map[uint32][]byte
	size  int64  // of the file
	dead  int64  // octets of blobs that were replaced or belong to expunged messages
	wait  []byte // not written yet
}

// NewCache returns a cache that is kept in memory only.
func NewCache() *Cache { return &Cache{items: map[uint32][]byte{}} }

// OpenCache opens the cache in root. A cache of another UIDVALIDITY is emptied.
// keep reports whether a message still exists.
func OpenCache(root *os.Root, validity uint32, keep func(uid uint32) bool) (*Cache, error) {
	file, err := root.OpenFile("cache", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	c := &Cache{file: file, items: map[uint32][]byte{}}
	if err := c.read(validity, keep); err != nil {
		file.Close()
		return nil, fmt.Errorf("read cache: %w", err)
	}
	return c, nil
}

func cacheHead(validity uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte(cacheMagic), validity)
}

func (c *Cache) read(validity uint32, keep func(uint32) bool) error {
	st, err := c.file.Stat()
	if err != nil {
		return err
	}
	text := make([]byte, min(st.Size(), maxBatch))
	if _, err := c.file.ReadAt(text, 0); err != nil {
		return err
	}
	head := cacheHead(validity)
	if len(text) < len(head) || string(text[:len(head)]) != string(head) {
		return c.reset(validity)
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
		return c.rewrite(validity)
	}
	return c.file.Truncate(c.size)
}

func (c *Cache) reset(validity uint32) error {
	if err := c.file.Truncate(0); err != nil {
		return err
	}
	head := cacheHead(validity)
	_, err := c.file.WriteAt(head, 0)
	c.size, c.dead = int64(len(head)), 0
	return err
}

// rewrite overwrites the file with the live blobs. A crash during rewrite loses
// cached items only.
func (c *Cache) rewrite(validity uint32) error {
	items := c.items
	c.items = map[uint32][]byte{}
	if err := c.reset(validity); err != nil {
		return err
	}
	for uid, item := range items {
		if err := c.Put(uid, item); err != nil {
			return err
		}
	}
	return c.Flush()
}

// keep stores a blob in memory.
func (c *Cache) keep(uid uint32, item []byte) {
	if old, ok := c.items[uid]; ok {
		c.dead += int64(12 + len(old))
	}
	c.items[uid] = item
}

// Get returns the blob of a message, or nil. It must not be changed.
func (c *Cache) Get(uid uint32) []byte { return c.items[uid] }

// Put stores a blob. It is written to the file later, see Flush.
func (c *Cache) Put(uid uint32, item []byte) error {
	if len(item) > maxItem {
		return nil
	}
	c.keep(uid, item)
	if c.file == nil {
		return nil
	}
	c.wait = appendFrame(c.wait, binary.LittleEndian.AppendUint32(nil, uid), item)
	if len(c.wait) < cacheBuf {
		return nil
	}
	return c.Flush()
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
	n, err := c.file.WriteAt(c.wait, c.size)
	c.wait = c.wait[:0]
	if err != nil {
		return fmt.Errorf("write cache: %w", errors.Join(err, c.file.Truncate(c.size)))
	}
	c.size += int64(n)
	return nil
}

// Close flushes the cache and closes the file.
func (c *Cache) Close() error {
	if c.file == nil {
		return nil
	}
	return errors.Join(c.Flush(), c.file.Close())
}
