package tokens

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestRecordsComeBack(t *testing.T) {
	dir := t.TempDir()
	records := []Record{{IDs: []int32{1, 5, 2}, Mask: []uint8{0, 1, 1}}, {IDs: []int32{1, 2}, Mask: []uint8{0, 1}, Holdout: true}}
	if err := Write(dir, records); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil || !reflect.DeepEqual(got, records) {
		t.Errorf("got %v (%v), want %v", got, err, records)
	}
}

func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	Write(dir, []Record{{IDs: []int32{1, 5, 2}, Mask: []uint8{0, 1, 1}}})
	seed, _ := os.ReadFile(filepath.Join(dir, FileName))
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, FileName), b, 0o666)
		if records, err := Read(dir); (records == nil) == (err == nil) && len(records) > 0 {
			t.Fatalf("records %v, error %v", records, err)
		}
	})
}
