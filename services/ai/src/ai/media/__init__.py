"""Pictures, voice messages and their links: fetched with care, shown or heard, never kept."""
