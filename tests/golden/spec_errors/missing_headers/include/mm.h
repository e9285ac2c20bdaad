int vfs_read(int fd);
