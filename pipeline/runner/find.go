package runner

import (
	"fmt"

	"pipe/cache"
	"pipe/stages"
)

// FindResult returns the record of a kind run with parameters and inputs, if the
// store knows it, whichever pipeline it was made in.
func FindResult(store *cache.Store, kind *stages.Kind, params stages.Params, inputs []cache.InputContent) (*cache.Record, error) {
	key := cache.MakeKey(describeKind(kind, params, kind.Outputs), inputs)
	record, why := store.Lookup(key)
	if record == nil {
		return nil, fmt.Errorf("the store has no result of %s for these inputs %s", kind.Name, why)
	}
	return record, nil
}
